"""Records to what people see: rich tables, progress bars, coloured text. Computes nothing."""
