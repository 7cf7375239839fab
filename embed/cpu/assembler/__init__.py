"""Programs as items, and what makes machine code of them: one module per calling convention."""
