//! From published ports to the rules of the table `ip skeg`.
//!
//! Pure: the same ports give the same rules in the same order.
