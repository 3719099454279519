//! The C library's heap, set up for daemons that have bursts of work and are idle else.
//!
//! Never called between fork and exec, and it changes no pointer: only where memory comes from.

use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, malloc_trim, mallopt};

/// From so many bytes on, an allocation is a mapping of its own, which goes when it is freed.
const LARGE: i32 = 128 << 10;

/// One heap for all threads, whose end goes back to the kernel. The C library's own way is a heap for
/// each thread, kept after the thread has ended, and bounds that grow with what was once asked for.
pub fn keep_small() {
    // SAFETY: mallopt takes two numbers; it locks the heap that it changes.
    unsafe {
        mallopt(M_ARENA_MAX, 1);
        mallopt(M_MMAP_THRESHOLD, LARGE);
        mallopt(M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives the kernel back what is free, also between what is in use.
pub fn trim() {
    // SAFETY: malloc_trim takes a number and only gives back pages that hold no allocation.
    unsafe {
        malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous() -> u64 {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }

    #[test]
    fn what_was_freed_among_what_is_in_use_goes_back() {
        keep_small();
        let mut all: Vec<Option<Box<[u8; 8192]>>> =
            (0..4096).map(|_| Some(Box::new([1; 8192]))).collect();
        let full = anonymous();
        for (number, one) in all.iter_mut().enumerate() {
            if number % 64 != 0 {
                *one = None;
            }
        }
        trim();
        let left = anonymous();
        assert!(full - left > 24 << 10, "{full} kB, then {left} kB");
        assert_eq!(all.iter().flatten().count(), 64);
    }
}
