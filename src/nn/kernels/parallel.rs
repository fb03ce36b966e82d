//! Slices of a tensor's elements, and a map over independent tasks on libtorch's number of threads.

use std::cmp::Reverse;
use std::ops::{Add, Mul};
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Device, Tensor};

use crate::error::{Error, Result};

/// The element types that the kernels compute in.
pub trait Number: Copy + Send + Sync + Add<Output = Self> + Mul<Output = Self> + tch::kind::Element + 'static {
    /// self · other + sum, rounded once.
    fn fused(self, other: Self, sum: Self) -> Self;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            #[inline(always)]
            fn fused(self, other: Self, sum: Self) -> Self {
                self.mul_add(other, sum)
            }
        }
    };
}

number!(f32);
number!(f64);

/// a·b + c, rounded once if `FUSED`. Without the processor's instruction, one rounding costs a function call.
#[inline(always)]
pub fn fused<T: Number, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.fused(b, c) } else { a * b + c }
}

/// `task(i)` for each i below `count`, on as many threads as libtorch uses. Tasks start in decreasing order of
/// `cost`, so that no long task starts last. One thread computes a task from start to end: its bits do not depend on
/// the number of threads.
pub fn parallel_map<R: Send>(
    count: usize,
    cost: impl Fn(usize) -> usize,
    task: impl Fn(usize) -> R + Sync,
) -> Result<Vec<R>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|index| Reverse(cost(*index)));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return done };
            done.push((*index, task(*index)));
        }
    };
    let helpers = (tch::get_num_threads().max(1) as usize).min(count).saturating_sub(1);
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        for helper in helpers {
            done.extend(helper.join().map_err(|_| Error::engine("a thread panicked in a CPU kernel"))?);
        }
        Ok::<_, Error>(done)
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// The elements of a contiguous CPU tensor, without a copy.
pub fn elements<T: Number>(tensor: &Tensor) -> Result<&[T]> {
    check::<T>(tensor)?;
    // SAFETY: a contiguous CPU tensor of this dtype holds this many elements, and it outlives the slice.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}

/// The same, for writing.
pub fn elements_mut<T: Number>(tensor: &mut Tensor) -> Result<&mut [T]> {
    check::<T>(tensor)?;
    // SAFETY: as above; callers pass tensors that they have just allocated, so that nothing else reads their storage.
    Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn check<T: Number>(tensor: &Tensor) -> Result<()> {
    let (device, kind) = (tensor.device(), tensor.kind());
    if device != Device::Cpu || kind != T::KIND || !tensor.is_contiguous() {
        let layout = if tensor.is_contiguous() { "contiguous" } else { "strided" };
        return Err(Error::engine(format!(
            "expected a contiguous CPU tensor of dtype {:?}, got a {layout} one of {kind:?} on {device:?}",
            T::KIND
        )));
    }
    Ok(())
}
