//! The zygote: a small single-threaded process that clones containers as children of PID 1.
