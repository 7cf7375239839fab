"""Where machine code runs: in this process, in an emulator, under qemu; alone or shared by threads."""
