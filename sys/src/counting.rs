//! An allocator that counts, for tests that show that a path allocates nothing.
//!
//! It is the system's allocator otherwise. No program that ships uses it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Set it as the `#[global_allocator]` of a test.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// How often this thread has allocated so far.
#[must_use]
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

// SAFETY: every call goes unchanged to the system's allocator, which keeps the contract; counting
// touches a plain thread-local number that needs neither allocation nor destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from `alloc` above with this layout, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as for `dealloc`; the new size is the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
