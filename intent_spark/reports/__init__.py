"""What people read: plots, tables and the report page. Arrays and plain rows in, text and figures out."""
