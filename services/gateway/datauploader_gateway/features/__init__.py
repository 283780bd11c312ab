"""What people can do, one folder each: the use case, its REST interface, its pages."""
