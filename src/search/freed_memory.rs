//! Memory that one pass frees and the next one needs again.
//!
//! glibc returns freed memory to the system: large blocks at once, the end of the heap when it exceeds a threshold. The
//! system then maps and clears every page again. A product with a Hessian frees several gigabytes, and one fifth of its
//! time was spent on their pages. While a search with such products exists on the CPU, freed memory therefore stays in
//! the process; afterwards it is returned. Other searches and other allocators keep their behaviour.

use std::sync::{Mutex, MutexGuard};

use tch::Device;

use crate::config::OptimisationConfig;

/// How many searches keep freed memory.
static SEARCHES: Mutex<usize> = Mutex::new(0);

/// Keeps freed memory in the process while it exists.
#[derive(Debug)]
pub struct FreedMemory(());

impl FreedMemory {
    /// For a search on `device`. None if it has no products with Hessians, or on a GPU, whose memory libtorch manages.
    pub fn keep(optimisation: &OptimisationConfig, device: Device) -> Option<Self> {
        if device != Device::Cpu || !optimisation.largest_method().has_products() {
            return None;
        }
        let mut searches = searches();
        *searches += 1;
        if *searches == 1 {
            glibc::keep();
        }
        Some(FreedMemory(()))
    }
}

impl Drop for FreedMemory {
    fn drop(&mut self) {
        let mut searches = searches();
        *searches -= 1;
        if *searches == 0 {
            glibc::give_back();
        }
    }
}

fn searches() -> MutexGuard<'static, usize> {
    SEARCHES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int, malloc_trim, mallopt};

    const MIB: c_int = 1 << 20;

    /// Settings of the user's own are respected.
    fn is_configured() -> bool {
        let set = |name| std::env::var_os(name).is_some();
        ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"].into_iter().any(set)
    }

    fn set(largest_block: c_int, end_of_heap: c_int) {
        // SAFETY: both are thread-safe and change only when memory is returned to the system.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, largest_block);
            mallopt(M_TRIM_THRESHOLD, end_of_heap);
        }
    }

    /// Returns no memory to the system but blocks of more than 1 GiB.
    pub fn keep() {
        if !is_configured() {
            set(1024 * MIB, -1);
        }
    }

    /// Sets what glibc itself reaches in a process that frees large blocks, and returns what is free.
    pub fn give_back() {
        if !is_configured() {
            set(32 * MIB, 64 * MIB);
            // SAFETY: thread-safe.
            unsafe { malloc_trim(0) };
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub fn keep() {}
    pub fn give_back() {}
}
