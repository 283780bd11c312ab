"""HTTP and HTML: the application, what surrounds each request, problems, the drawing of pages."""
