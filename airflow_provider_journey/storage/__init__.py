"""What every room needs of disks, object stores and the relational engine."""
