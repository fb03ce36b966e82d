//! Gradients by kernels that are not left to autograd: it differentiates by the result of the convolution, and the
//! rest is done here, for all convolutions of a backward pass at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Device, Kind, Tensor};

use super::depthwise::{Depthwise, Number};
use crate::error::{Error, Result};
use crate::plan::Op;

/// A convolution whose kernel autograd does not see.
pub struct Outside {
    /// The kernel's place.
    pub place: usize,
    /// The result, by which autograd differentiates.
    pub y: Tensor,
    x: Tensor,
    window: Depthwise,
}

impl Outside {
    /// Whether the kernel's gradient is better taken here: a depthwise one on the CPU is. Without a graph to `x` there
    /// would be none to the result.
    pub fn suits(op: &Op, x: &Tensor, kernel: &Tensor) -> bool {
        let Op::Conv { groups, .. } = op else { return false };
        let channels = *groups as i64;
        let depthwise = channels > 1 && x.size()[1] == channels && kernel.size()[..2] == [channels, 1];
        let known = x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::Double);
        depthwise && known && kernel.kind() == x.kind() && x.requires_grad() && kernel.requires_grad()
    }

    /// The convolution `op` that made `y` of `x` and a kernel of this place and size.
    pub fn new(op: &Op, place: usize, kernel: &Tensor, x: &Tensor, y: &Tensor) -> Result<Self> {
        let (Op::Conv { stride, padding, dilation, .. }, [batch, channels, high, broad], [_, _, tall, wide]) =
            (op, extents(x)?, extents(y)?)
        else {
            return Err(Error::engine("not a convolution"));
        };
        let [_, _, rows, columns] = extents(kernel)?;
        let window = Depthwise {
            batch,
            channels,
            input: [high, broad],
            output: [tall, wide],
            kernel: [rows, columns],
            stride: *stride,
            padding: *padding,
            dilation: *dilation,
        };
        Ok(Outside { place, y: y.shallow_clone(), x: x.f_detach()?, window })
    }
}

fn extents(tensor: &Tensor) -> Result<[usize; 4]> {
    let extents: Vec<usize> = tensor.size().into_iter().map(|extent| extent as usize).collect();
    extents.try_into().map_err(|_| Error::engine("a convolution of something else than images"))
}

/// The gradients by the kernels, given those by the results, in the order of `all`. Each is one thread's work from
/// beginning to end, so that its bits do not depend on how many there are.
pub fn kernel_gradients(all: &[Outside], of_results: &[Tensor]) -> Result<Vec<Tensor>> {
    let work = all.iter().zip(of_results).map(|(one, of_result)| Work::new(one, of_result));
    let work = work.collect::<Result<Vec<_>>>()?;
    match all.first().map(|one| one.x.kind()) {
        None => Ok(Vec::new()),
        Some(Kind::Double) => together::<f64>(&work),
        Some(_) => together::<f32>(&work),
    }
}

/// Images and gradients with channels innermost.
struct Work {
    window: Depthwise,
    x: Tensor,
    g: Tensor,
}

impl Work {
    fn new(one: &Outside, of_result: &Tensor) -> Result<Self> {
        let inner = |image: &Tensor| image.f_permute([0, 2, 3, 1])?.f_contiguous();
        Ok(Work { window: one.window, x: inner(&one.x)?, g: inner(of_result)? })
    }
}

fn together<T: Number>(work: &[Work]) -> Result<Vec<Tensor>> {
    let views = work.iter().map(|one| Ok((one.window, numbers::<T>(&one.x)?, numbers::<T>(&one.g)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    // The longest first, or the last one keeps all others waiting.
    let mut order: Vec<usize> = (0..work.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(work[*index].window.work()));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return done };
            let (window, x, g) = views[*index];
            done.push((*index, window.kernel_gradient(x, g)));
        }
    };
    let helpers = (tch::get_num_threads().max(1) as usize).min(work.len()).saturating_sub(1);
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        for helper in helpers {
            done.extend(helper.join().map_err(|_| Error::engine("a thread that took gradients failed"))?);
        }
        Ok::<_, Error>(done)
    })?;
    done.sort_by_key(|(index, _)| *index);
    let shaped = |(index, sums): (usize, Vec<T>)| {
        let Depthwise { channels, kernel: [rows, columns], .. } = work[index].window;
        Ok(Tensor::f_from_slice(&sums)?.f_view([channels as i64, 1, rows as i64, columns as i64])?)
    };
    done.into_iter().map(shaped).collect()
}

/// The numbers of a tensor, where they lie.
fn numbers<T: Number>(tensor: &Tensor) -> Result<&[T]> {
    if tensor.device() != Device::Cpu || tensor.kind() != T::AS || !tensor.is_contiguous() {
        return Err(Error::engine("a gradient does not lie as it should"));
    }
    // SAFETY: a contiguous tensor of this kind in main memory holds so many numbers; it lives as long as the slice.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}
