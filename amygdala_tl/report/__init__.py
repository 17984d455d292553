"""Records to what people see: rich tables, progress bars, coloured text, one HTML page. Computes nothing."""
