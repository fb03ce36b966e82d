//! Memory that one pass frees and the next one needs again.
//!
//! glibc returns freed memory to the system: large blocks at once, the end of the heap when it exceeds a threshold. The
//! system then maps and clears every page again, which took a tenth of the time of a first-order step and a fifth of a
//! product with a Hessian. While a search exists on the CPU, freed memory therefore stays in the process; afterwards it
//! is returned. Other allocators keep their behaviour.
//!
//! The first step that moves α still maps large blocks separately. It also allocates what stays for the whole search,
//! such as the kernels that oneDNN compiles. Between large blocks of the heap, these small objects would keep them from
//! being joined, which took a quarter more memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use tch::Device;

/// How many searches keep freed memory.
static SEARCHES: Mutex<usize> = Mutex::new(0);

/// The freed memory of a search. It stays in the process from the first call of [`FreedMemory::keep`] until this value
/// is dropped.
#[derive(Debug)]
pub struct FreedMemory {
    on_cpu: bool,
    kept: AtomicBool,
}

impl FreedMemory {
    /// For a search on `device`. On a GPU, whose memory libtorch manages, it changes nothing.
    pub fn new(device: Device) -> Self {
        FreedMemory { on_cpu: device == Device::Cpu, kept: AtomicBool::new(false) }
    }

    /// Called after steps that can move α; only the first call has an effect.
    pub fn keep(&self) {
        if !self.on_cpu || self.kept.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut searches = searches();
        *searches += 1;
        if *searches == 1 {
            glibc::keep();
        }
    }
}

impl Drop for FreedMemory {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            return;
        }
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
