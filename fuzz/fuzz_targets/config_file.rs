#![no_main]
correio_fuzz::target!(config_file);
