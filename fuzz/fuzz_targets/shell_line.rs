#![no_main]
correio_fuzz::target!(shell_line);
