//! The command line of `skeg`.
