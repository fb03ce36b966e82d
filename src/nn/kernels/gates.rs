//! Mixtures of gates in one pass over memory, with their derivatives beside them, on the CPU.
//!
//! Left to libtorch, a mixture reads and writes memory some thirty times, and its tanh alone takes as long as a product.

use tch::{Device, Kind, Tensor};

use super::exp::{Real, fused};
use crate::error::{Error, Result};
use crate::nn::interpreter::weight_gradients::{numbers, numbers_mut, together};
use crate::space::Operation;

/// σ(x) and 1 − σ(x), both to the last few bits; their product is how σ grows.
#[inline(always)]
fn sigmoid<T: Real, const FUSED: bool>(x: T) -> (T, T) {
    let fallen = (-x).expm1::<FUSED>() + T::ONE;
    let value = T::ONE / (fallen + T::ONE);
    (value, fallen * value)
}

/// tanh(x) and how it grows, σ(x) and 1 − σ(x): of one exponential, e = exp(−|x|), which neither overflows nor leaves
/// nothing of a small x.
#[inline(always)]
fn tanh_and_sigmoid<T: Real, const FUSED: bool>(x: T) -> ([T; 2], [T; 2]) {
    let negative = x < T::NONE;
    let less = (if negative { x } else { -x }).expm1::<FUSED>();
    let e = less + T::ONE;
    let (once, twice) = (T::ONE / (e + T::ONE), T::ONE / fused::<T, FUSED>(e, e, T::ONE));
    let size = less * (e + T::ONE) * twice;
    let half = e * twice;
    let (large, small) = (once, e * once);
    let sigmoid = if negative { [small, large] } else { [large, small] };
    let grows = half * half;
    ([if negative { size } else { -size }, grows + grows + grows + grows], sigmoid)
}

#[inline(always)]
fn relu<T: Real>(x: T) -> (T, T) {
    // NaN stays what it is.
    (if x < T::NONE { T::NONE } else { x }, if x > T::NONE { T::ONE } else { T::NONE })
}

/// Weights of tanh, relu, sigmoid and identity.
type Weights<T> = [T; 4];

/// In the order of the weights.
const ACTIVATIONS: [Operation; 4] = [Operation::Tanh, Operation::Relu, Operation::Sigmoid, Operation::Identity];

/// The sizes of a mixture: states, sequences, units.
#[derive(Clone, Copy)]
struct Sizes {
    states: usize,
    batch: usize,
    units: usize,
}

/// What a mixture is of: states s [J · N, units], [c, u] [J · N, 2 · units], and weights p [J, activations].
pub struct Mixture {
    activations: Vec<usize>,
    states: Tensor,
    gates: Tensor,
    weights: Tensor,
}

impl Mixture {
    /// Outside any graph.
    pub fn new(which: &[(usize, Operation)], states: &Tensor, gates: &Tensor, weights: &Tensor) -> Result<Self> {
        let place = |(_, activation): &(usize, Operation)| ACTIVATIONS.iter().position(|known| known == activation);
        let activations = which.iter().map(place).collect::<Option<Vec<_>>>();
        let activations = activations.ok_or_else(|| Error::engine("a mixture of what is no activation"))?;
        Ok(Mixture {
            activations,
            states: states.f_detach()?.f_contiguous()?,
            gates: gates.f_detach()?.f_contiguous()?,
            weights: weights.f_detach()?.f_contiguous()?,
        })
    }

    fn sizes(&self) -> Result<Sizes> {
        let (rows, units) = (self.states.size()[0] as usize, self.states.size()[1] as usize);
        let states = self.weights.size()[0] as usize;
        let batch = rows / states.max(1);
        if batch * states != rows || units == 0 || self.gates.size() != [rows as i64, 2 * units as i64] {
            return Err(Error::engine("a mixture of gates that do not belong together"));
        }
        Ok(Sizes { states, batch, units })
    }

    /// The weights of each state.
    fn weights<T: Real>(&self) -> Result<Vec<Weights<T>>> {
        let given = numbers::<T>(&self.weights)?;
        let of_state = |given: &[T]| {
            let mut weights = [T::NONE; 4];
            for (activation, weight) in self.activations.iter().zip(given) {
                weights[*activation] = *weight;
            }
            weights
        };
        Ok(given.chunks_exact(self.activations.len().max(1)).map(of_state).collect())
    }

    /// The mixture [N, units] and its derivatives by s and by [c, u].
    pub fn value(&self) -> Result<[Tensor; 3]> {
        if self.states.f_kind()? == Kind::Double { self.value_in::<f64>() } else { self.value_in::<f32>() }
    }

    fn value_in<T: Real>(&self) -> Result<[Tensor; 3]> {
        let sizes = self.sizes()?;
        let mut value = Tensor::f_zeros([sizes.batch as i64, sizes.units as i64], (T::AS, Device::Cpu))?;
        let (mut by_state, mut by_gate) = (self.states.f_empty_like()?, self.gates.f_empty_like()?);
        let weights = self.weights::<T>()?;
        let made = Made {
            value: numbers_mut(&mut value)?,
            by_state: numbers_mut(&mut by_state)?,
            by_gate: numbers_mut(&mut by_gate)?,
        };
        let (states, gates) = (numbers(&self.states)?, numbers(&self.gates)?);
        fill(sizes, &weights, states, gates, made);
        Ok([value, by_state, by_gate])
    }

    /// The gradients by the weights, [J, activations], of several mixtures from those by their values.
    pub fn by_weights(all: &[(&Mixture, &Tensor)]) -> Result<Vec<Tensor>> {
        match all.first().map(|(mixture, _)| mixture.states.f_kind()).transpose()? {
            Some(Kind::Double) => Self::by_weights_in::<f64>(all),
            _ => Self::by_weights_in::<f32>(all),
        }
    }

    fn by_weights_in<T: Real>(all: &[(&Mixture, &Tensor)]) -> Result<Vec<Tensor>> {
        let of_values = all.iter().map(|(_, of_value)| Ok(of_value.f_contiguous()?)).collect::<Result<Vec<_>>>()?;
        let mut work = Vec::with_capacity(all.len());
        for ((mixture, _), of_value) in all.iter().zip(&of_values) {
            let (states, gates) = (numbers::<T>(&mixture.states)?, numbers::<T>(&mixture.gates)?);
            work.push((mixture.sizes()?, states, gates, numbers::<T>(of_value)?));
        }
        let sizes = |index: usize| work[index].1.len();
        let found = together(all.len(), sizes, |index| {
            let (sizes, states, gates, g) = work[index];
            sums(sizes, states, gates, g)
        })?;
        let shaped = |(sums, (mixture, _)): (Vec<[f64; 4]>, &(&Mixture, &Tensor))| {
            let chosen =
                |sums: &[f64; 4]| mixture.activations.iter().map(|place| T::narrow(sums[*place])).collect::<Vec<_>>();
            let flat: Vec<T> = sums.iter().flat_map(chosen).collect();
            Ok(Tensor::f_from_slice(&flat)?.f_view(mixture.weights.size().as_slice())?)
        };
        found.into_iter().zip(all).map(shaped).collect()
    }
}

/// Where the numbers of a mixture go.
struct Made<'a, T> {
    value: &'a mut [T],
    by_state: &'a mut [T],
    by_gate: &'a mut [T],
}

fn fill<T: Real>(sizes: Sizes, weights: &[Weights<T>], states: &[T], gates: &[T], made: Made<T>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { wide_fill(sizes, weights, states, gates, made) };
    }
    any_fill::<T, false>(sizes, weights, states, gates, made)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn wide_fill<T: Real>(sizes: Sizes, weights: &[Weights<T>], states: &[T], gates: &[T], made: Made<T>) {
    any_fill::<T, true>(sizes, weights, states, gates, made)
}

#[inline(always)]
fn any_fill<T: Real, const FUSED: bool>(
    sizes: Sizes,
    weights: &[Weights<T>],
    states: &[T],
    gates: &[T],
    made: Made<T>,
) {
    let units = sizes.units;
    let rows = states.chunks_exact(units).zip(gates.chunks_exact(2 * units));
    let by = made.by_state.chunks_exact_mut(units).zip(made.by_gate.chunks_exact_mut(2 * units));
    for (row, ((s, gates), (by_s, by_gate))) in rows.zip(by).enumerate() {
        let value = &mut made.value[row % sizes.batch * units..][..units];
        let ((c, u), (by_c, by_u)) = (gates.split_at(units), by_gate.split_at_mut(units));
        fill_row::<T, FUSED>(&weights[row / sizes.batch], [s, c, u], value, [by_s, by_c, by_u]);
    }
}

/// Numbers that are computed beside each other: in arrays of their own, which the compiler knows not to overlap.
const BLOCK: usize = 32;

/// A block of a row, filled up with zeros.
#[inline(always)]
fn block<T: Real>(row: &[T], at: usize) -> [T; BLOCK] {
    let rest = &row[at..];
    match rest.first_chunk::<BLOCK>() {
        Some(block) => *block,
        None => {
            let mut block = [T::NONE; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            block
        }
    }
}

/// Puts a block into a row, as far as it goes.
#[inline(always)]
fn put<T: Real>(row: &mut [T], at: usize, block: &[T; BLOCK]) {
    let rest = &mut row[at..];
    match rest.first_chunk_mut::<BLOCK>() {
        Some(place) => *place = *block,
        None => {
            let length = rest.len();
            rest.copy_from_slice(&block[..length]);
        }
    }
}

/// Adds what one state of one sequence gives.
#[inline(always)]
fn fill_row<T: Real, const FUSED: bool>(weights: &Weights<T>, of: [&[T]; 3], value: &mut [T], by: [&mut [T]; 3]) {
    let [of_tanh, of_relu, of_sigmoid, of_identity] = *weights;
    let all = of_tanh + of_relu + of_sigmoid + of_identity;
    let [by_s, by_c, by_u] = by;
    for at in (0..value.len()).step_by(BLOCK) {
        let [s, c, u] = of.map(|row| block(row, at));
        let mut sum = block(value, at);
        let (mut of_s, mut of_c, mut of_u) = ([T::NONE; BLOCK], [T::NONE; BLOCK], [T::NONE; BLOCK]);
        for lane in 0..BLOCK {
            let (s, c, u) = (s[lane], c[lane], u[lane]);
            let (open, closed) = sigmoid::<T, FUSED>(c);
            let ([t, ts], [g, rest]) = tanh_and_sigmoid::<T, FUSED>(u);
            let (r, rs) = relu(u);
            let share = all * s;
            let change = of_tanh * t + of_relu * r + of_sigmoid * g + of_identity * u - share;
            sum[lane] = sum[lane] + share + open * change;
            of_s[lane] = all * closed;
            of_c[lane] = change * open * closed;
            of_u[lane] = open * (of_tanh * ts + of_relu * rs + of_sigmoid * g * rest + of_identity);
        }
        put(value, at, &sum);
        put(by_s, at, &of_s);
        put(by_c, at, &of_c);
        put(by_u, at, &of_u);
    }
}

/// For each state the sums of g·(s + σ(c)·(f(u) − s)), f the activations in the order of the weights.
fn sums<T: Real>(sizes: Sizes, states: &[T], gates: &[T], g: &[T]) -> Vec<[f64; 4]> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { wide_sums(sizes, states, gates, g) };
    }
    any_sums::<T, false>(sizes, states, gates, g)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn wide_sums<T: Real>(sizes: Sizes, states: &[T], gates: &[T], g: &[T]) -> Vec<[f64; 4]> {
    any_sums::<T, true>(sizes, states, gates, g)
}

#[inline(always)]
fn any_sums<T: Real, const FUSED: bool>(sizes: Sizes, states: &[T], gates: &[T], g: &[T]) -> Vec<[f64; 4]> {
    let units = sizes.units;
    let mut found = vec![[0.0; 4]; sizes.states];
    let rows = states.chunks_exact(units).zip(gates.chunks_exact(2 * units));
    for (row, (s, gates)) in rows.enumerate() {
        let g = &g[row % sizes.batch * units..][..units];
        let (c, u) = gates.split_at(units);
        let mut sums = [[T::NONE; BLOCK]; 4];
        for at in (0..units).step_by(BLOCK) {
            // Where a row ends within a block, g is zero.
            let [s, c, u, g] = [s, c, u, g].map(|row| block(row, at));
            for lane in 0..BLOCK {
                let (open, closed) = sigmoid::<T, FUSED>(c[lane]);
                let ([t, _], [risen, _]) = tanh_and_sigmoid::<T, FUSED>(u[lane]);
                let (through, kept) = (g[lane] * open, g[lane] * closed * s[lane]);
                sums[0][lane] = sums[0][lane] + (through * t + kept);
                sums[1][lane] = sums[1][lane] + (through * relu(u[lane]).0 + kept);
                sums[2][lane] = sums[2][lane] + (through * risen + kept);
                sums[3][lane] = sums[3][lane] + (through * u[lane] + kept);
            }
        }
        for (found, sums) in found[row / sizes.batch].iter_mut().zip(sums) {
            *found += sums.into_iter().map(T::wide).sum::<f64>();
        }
    }
    found
}
