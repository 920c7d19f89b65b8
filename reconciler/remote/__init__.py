"""The doors to machines, Ray and shared files; each outside library has one."""
