//! Gradients by weights that are not left to autograd: it differentiates by the results of the operations, and the
//! rest is done here, when a backward pass is over: all depthwise convolutions beside each other, all products with a
//! matrix, of however many tokens, as one, mixtures of gates, and losses of a decoder.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Device, Kind, Tensor};

use super::mixing::in_kind;
use crate::error::{Error, Result};
use crate::nn::kernels::cross_entropy::Scored;
use crate::nn::kernels::depthwise::{Depthwise, Number};
use crate::nn::kernels::gates::Mixture;
use crate::plan::Op;

/// An operation whose weight autograd does not see.
pub struct Outside {
    /// The weight's place.
    pub place: usize,
    /// The result, by which autograd differentiates.
    pub y: Tensor,
    how: How,
}

/// What was done with the weight.
enum How {
    /// A depthwise convolution of `x`.
    Depthwise { window: Depthwise, x: Tensor },
    /// A product of `x` with the rows of the weight from this one on, as many as `x` has columns.
    Product { first: usize, x: Tensor },
    /// A mixture of gates, whose weights are a mixture's.
    Gates(Mixture),
    /// A loss, with its gradient by the weight.
    Loss(Tensor),
}

impl Outside {
    /// Whether the gradient by a convolution's kernel is better taken here: by a depthwise one on the CPU it is. Without
    /// a graph to `x` there would be none to the result.
    pub fn suits_convolution(op: &Op, x: &Tensor, kernel: &Tensor) -> bool {
        let Op::Conv { groups, .. } = op else { return false };
        let channels = *groups as i64;
        let depthwise = channels > 1 && x.size()[1] == channels && kernel.size()[..2] == [channels, 1];
        let known = x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::Double);
        depthwise && known && kernel.kind() == x.kind() && x.requires_grad() && kernel.requires_grad()
    }

    /// Whether the gradient by a matrix is better taken here: wherever `x` has a graph.
    pub fn suits_product(x: &Tensor, weight: &Tensor) -> bool {
        x.requires_grad() && weight.requires_grad()
    }

    /// The convolution `op` that made `y` of `x` and a kernel of this place and size.
    pub fn convolution(op: &Op, place: usize, kernel: &Tensor, x: &Tensor, y: &Tensor) -> Result<Self> {
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
        Ok(Outside { place, y: y.shallow_clone(), how: How::Depthwise { window, x: x.f_detach()? } })
    }

    /// Whether a mixture of gates is better computed here, in one pass over memory: on the CPU it is. Without a graph to
    /// states and gates there would be none to it.
    pub fn suits_gates(states: &Tensor, gates: &Tensor) -> bool {
        let known = matches!(states.kind(), Kind::Float | Kind::Double) && states.kind() == gates.kind();
        known && states.device() == Device::Cpu && states.requires_grad() && gates.requires_grad()
    }

    /// The mixture of gates whose weights have this place, and what takes their gradient.
    pub fn gates(place: usize, mixture: Mixture, of: [&Tensor; 2]) -> Result<(Tensor, Self)> {
        let y = stand_in(&mixture, of)?;
        let outside = Outside { place, y: y.shallow_clone(), how: How::Gates(mixture) };
        Ok((y, outside))
    }

    /// The product `y` of `x` and the rows from `first` on of the matrix of this place.
    pub fn product(place: usize, first: usize, x: &Tensor, y: &Tensor) -> Result<Self> {
        Ok(Outside { place, y: y.shallow_clone(), how: How::Product { first, x: x.f_detach()? } })
    }
}

/// The loss of a decoder whose weight and bias have these places, in the graph of what it read, and what takes their
/// gradients: what autograd differentiates is linear, and the value is put in its place.
pub fn loss(scored: Scored, x: &Tensor, places: [usize; 2]) -> Result<(Tensor, Vec<Outside>)> {
    let made = x.f_mul(&scored.of_x)?.f_sum(None)?;
    made.f_data()?.f_copy_(&scored.loss)?;
    let gradients = scored.of_decoder.into_iter().flatten();
    let one = |(place, gradient)| Outside { place, y: made.shallow_clone(), how: How::Loss(gradient) };
    let outside = places.into_iter().zip(gradients).map(one).collect();
    Ok((made, outside))
}

/// A mixture of gates in the graph of its states and gates. What autograd differentiates is linear in both, with the
/// derivatives as coefficients; the values are put in their place.
fn stand_in(mixture: &Mixture, [states, gates]: [&Tensor; 2]) -> Result<Tensor> {
    let [value, by_state, by_gate] = mixture.value()?;
    let [batch, units] = value.size()[..] else { return Err(Error::engine("a mixture that is no matrix")) };
    let over_states = |x: &Tensor, by: &Tensor, width: i64| {
        let scaled = x.f_mul(by)?.f_view([-1, batch, width])?;
        scaled.f_sum_dim_intlist([0i64].as_slice(), false, None)
    };
    let halves = over_states(gates, &by_gate, 2 * units)?.f_split(units, 1)?;
    let mut made = over_states(states, &by_state, units)?;
    for half in halves {
        made = made.f_add(&half)?;
    }
    made.f_data()?.f_copy_(&value)?;
    Ok(made)
}

fn extents(tensor: &Tensor) -> Result<[usize; 4]> {
    let extents: Vec<usize> = tensor.size().into_iter().map(|extent| extent as usize).collect();
    extents.try_into().map_err(|_| Error::engine("a convolution of something else than images"))
}

/// The gradients by the weights, each with its place, given those by the results in the order of `all`; `parameters`:
/// the weights by place.
pub fn weight_gradients(
    all: &[Outside],
    of_results: &[Tensor],
    parameters: &[&Tensor],
) -> Result<Vec<(usize, Tensor)>> {
    let (mut places, mut depthwise) = (Vec::new(), Vec::new());
    let (mut mixed, mut mixtures, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let mut products: BTreeMap<(usize, usize), (Vec<Tensor>, Vec<Tensor>)> = BTreeMap::new();
    for (one, of_result) in all.iter().zip(of_results) {
        match &one.how {
            How::Depthwise { window, x } => {
                places.push(one.place);
                depthwise.push(Work::new(*window, x, of_result)?);
            }
            How::Gates(mixture) => {
                mixed.push(one.place);
                mixtures.push((mixture, of_result));
            }
            How::Loss(gradient) => known.push((one.place, gradient.f_mul(of_result)?)),
            How::Product { first, x } => {
                let (xs, gs) = products.entry((one.place, *first)).or_default();
                xs.push(x.f_flatten(0, -2)?);
                gs.push(of_result.f_flatten(0, -2)?);
            }
        }
    }
    for (place, gradient) in mixed.into_iter().zip(Mixture::by_weights(&mixtures)?) {
        known.push((place, gradient.f_view_as(parameters[place])?));
    }
    let mut found: Vec<_> = places.into_iter().zip(kernel_gradients(&depthwise)?).chain(known).collect();
    for ((place, first), (xs, gs)) in products {
        found.push((place, matrix_gradient(parameters[place], first, &xs, &gs)?));
    }
    Ok(found)
}

/// The gradient by a matrix of the products of its rows from `first` on: one product for all of them.
fn matrix_gradient(matrix: &Tensor, first: usize, xs: &[Tensor], gs: &[Tensor]) -> Result<Tensor> {
    let gradient = Tensor::f_cat(xs, 0)?.f_transpose(0, 1)?.f_mm(&Tensor::f_cat(gs, 0)?)?;
    let gradient = in_kind(&gradient, matrix.f_kind()?)?;
    let (above, rows) = (first as i64, gradient.size()[0]);
    match matrix.size()[0] - above - rows {
        0 if above == 0 => Ok(gradient),
        below => Ok(gradient.f_constant_pad_nd([0, 0, above, below])?),
    }
}

/// The gradients by the kernels of depthwise convolutions.
fn kernel_gradients(work: &[Work]) -> Result<Vec<Tensor>> {
    match work.first().map(|one| one.x.kind()) {
        None => Ok(Vec::new()),
        Some(Kind::Double) => kernels_in::<f64>(work),
        Some(_) => kernels_in::<f32>(work),
    }
}

/// Images and gradients with channels innermost.
struct Work {
    window: Depthwise,
    x: Tensor,
    g: Tensor,
}

impl Work {
    fn new(window: Depthwise, x: &Tensor, of_result: &Tensor) -> Result<Self> {
        let inner = |image: &Tensor| image.f_permute([0, 2, 3, 1])?.f_contiguous();
        Ok(Work { window, x: inner(x)?, g: inner(of_result)? })
    }
}

fn kernels_in<T: Number>(work: &[Work]) -> Result<Vec<Tensor>> {
    let views = work.iter().map(|one| Ok((one.window, numbers::<T>(&one.x)?, numbers::<T>(&one.g)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    let found = together(
        work.len(),
        |index| work[index].window.work(),
        |index| {
            let (window, x, g) = views[index];
            window.kernel_gradient(x, g)
        },
    )?;
    let shaped = |(sums, one): (Vec<T>, &Work)| {
        let Depthwise { channels, kernel: [rows, columns], .. } = one.window;
        Ok(Tensor::f_from_slice(&sums)?.f_view([channels as i64, 1, rows as i64, columns as i64])?)
    };
    found.into_iter().zip(work).map(shaped).collect()
}

/// What `one` gives for each number below `count`, beside each other on as many threads as libtorch has; the one with
/// the most work first, or the last one keeps all others waiting. Each is one thread's from beginning to end, so that
/// its bits do not depend on how many there are.
pub fn together<R: Send>(
    count: usize,
    work: impl Fn(usize) -> usize,
    one: impl Fn(usize) -> R + Sync,
) -> Result<Vec<R>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|index| std::cmp::Reverse(work(*index)));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return done };
            done.push((*index, one(*index)));
        }
    };
    let helpers = (tch::get_num_threads().max(1) as usize).min(count).saturating_sub(1);
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        for helper in helpers {
            done.extend(helper.join().map_err(|_| Error::engine("a thread that took gradients failed"))?);
        }
        Ok::<_, Error>(done)
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, found)| found).collect())
}

/// The numbers of a tensor, where they lie.
pub fn numbers<T: Number>(tensor: &Tensor) -> Result<&[T]> {
    check::<T>(tensor)?;
    // SAFETY: a contiguous tensor of this kind in main memory holds so many numbers; it lives as long as the slice.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}

/// The same, to be written over.
pub fn numbers_mut<T: Number>(tensor: &mut Tensor) -> Result<&mut [T]> {
    check::<T>(tensor)?;
    // SAFETY: as above; tensors that are written here are made here, so that nobody else looks at them.
    Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn check<T: Number>(tensor: &Tensor) -> Result<()> {
    if tensor.device() != Device::Cpu || tensor.kind() != T::AS || !tensor.is_contiguous() {
        return Err(Error::engine("a tensor does not lie as it should"));
    }
    Ok(())
}
