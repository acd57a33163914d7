#![no_main]
correio_fuzz::target!(json_lines);
