//! Mixtures of gates and their derivatives in one pass over memory, on the CPU.
//!
//! libtorch reads and writes memory some thirty times for one mixture, and its tanh alone takes as long as a matrix
//! product.

use tch::{Device, Kind, Tensor};

use super::exp::Real;
use super::parallel::{elements, elements_mut, fused, parallel_map};
use crate::error::{Error, Result};
use crate::space::Operation;

/// σ(x) and 1 − σ(x), both accurate to the last few bits. Their product is the derivative of σ.
#[inline(always)]
fn sigmoid<T: Real, const FUSED: bool>(x: T) -> (T, T) {
    let decay = (-x).expm1::<FUSED>() + T::ONE;
    let value = T::ONE / (decay + T::ONE);
    (value, decay * value)
}

/// tanh(x) and its derivative, then σ(x) and 1 − σ(x), from one exponential: e = exp(−|x|), which neither overflows nor
/// loses the bits of a small x.
#[inline(always)]
fn tanh_and_sigmoid<T: Real, const FUSED: bool>(x: T) -> ([T; 2], [T; 2]) {
    let negative = x < T::ZERO;
    let less = (if negative { x } else { -x }).expm1::<FUSED>();
    let e = less + T::ONE;
    let (once, twice) = (T::ONE / (e + T::ONE), T::ONE / fused::<T, FUSED>(e, e, T::ONE));
    let size = less * (e + T::ONE) * twice;
    let half = e * twice;
    let (large, small) = (once, e * once);
    let sigmoid = if negative { [small, large] } else { [large, small] };
    let quarter = half * half;
    ([if negative { size } else { -size }, quarter + quarter + quarter + quarter], sigmoid)
}

/// max(x, 0) and its derivative.
#[inline(always)]
fn relu<T: Real>(x: T) -> (T, T) {
    // NaN stays NaN.
    (if x < T::ZERO { T::ZERO } else { x }, if x > T::ZERO { T::ONE } else { T::ZERO })
}

/// The mixing weights of one state, in the order of [`ACTIVATIONS`].
type Weights<T> = [T; 4];

const ACTIVATIONS: [Operation; 4] = [Operation::Tanh, Operation::Relu, Operation::Sigmoid, Operation::Identity];

/// The sizes of a mixture.
#[derive(Clone, Copy)]
struct Sizes {
    /// J, the number of states that are mixed.
    states: usize,
    /// N, the number of sequences.
    batch: usize,
    units: usize,
}

/// Σ_j Σ_f p_jf · (s_j + σ(c_j)·(f(u_j) − s_j)): states s [J · N, units], gates [c, u] [J · N, 2 · units], and mixing
/// weights p [J, activations].
pub struct GateMixture {
    /// For each column of `weights` the index of its activation in [`ACTIVATIONS`].
    columns: Vec<usize>,
    states: Tensor,
    gates: Tensor,
    weights: Tensor,
}

impl GateMixture {
    /// Detached from every graph; the `activations` are those of the columns of `weights`.
    pub fn new(activations: &[(usize, Operation)], states: &Tensor, gates: &Tensor, weights: &Tensor) -> Result<Self> {
        let column = |(_, activation): &(usize, Operation)| {
            let column = ACTIVATIONS.iter().position(|known| known == activation);
            column.ok_or_else(|| Error::engine(format!("`{}` is not an activation", activation.name())))
        };
        Ok(GateMixture {
            columns: activations.iter().map(column).collect::<Result<_>>()?,
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
            return Err(Error::engine(format!(
                "a mixture of {states} states got {rows} rows of {units} units and gates of shape {:?}",
                self.gates.size()
            )));
        }
        Ok(Sizes { states, batch, units })
    }

    /// The mixing weights of each state; 0 for activations that are not mixed.
    fn weights<T: Real>(&self) -> Result<Vec<Weights<T>>> {
        let given = elements::<T>(&self.weights)?;
        let of_state = |given: &[T]| {
            let mut weights = [T::ZERO; 4];
            for (column, weight) in self.columns.iter().zip(given) {
                weights[*column] = *weight;
            }
            weights
        };
        Ok(given.chunks_exact(self.columns.len().max(1)).map(of_state).collect())
    }

    /// The mixture [N, units] and its derivatives with respect to s and to [c, u].
    pub fn value(&self) -> Result<[Tensor; 3]> {
        if self.states.f_kind()? == Kind::Double { self.value_in::<f64>() } else { self.value_in::<f32>() }
    }

    fn value_in<T: Real>(&self) -> Result<[Tensor; 3]> {
        let sizes = self.sizes()?;
        let mut value = Tensor::f_zeros([sizes.batch as i64, sizes.units as i64], (T::KIND, Device::Cpu))?;
        let (mut by_state, mut by_gate) = (self.states.f_empty_like()?, self.gates.f_empty_like()?);
        let weights = self.weights::<T>()?;
        let outputs = Outputs {
            value: elements_mut(&mut value)?,
            by_state: elements_mut(&mut by_state)?,
            by_gate: elements_mut(&mut by_gate)?,
        };
        let (states, gates) = (elements(&self.states)?, elements(&self.gates)?);
        forward(sizes, &weights, states, gates, outputs);
        Ok([value, by_state, by_gate])
    }

    /// The gradients with respect to the mixing weights, [J, activations], of several mixtures, each given with the
    /// gradient with respect to its value.
    pub fn weight_gradients(all: &[(&GateMixture, &Tensor)]) -> Result<Vec<Tensor>> {
        match all.first().map(|(mixture, _)| mixture.states.f_kind()).transpose()? {
            Some(Kind::Double) => Self::weight_gradients_in::<f64>(all),
            _ => Self::weight_gradients_in::<f32>(all),
        }
    }

    fn weight_gradients_in<T: Real>(all: &[(&GateMixture, &Tensor)]) -> Result<Vec<Tensor>> {
        let gradients = all.iter().map(|(_, gradient)| Ok(gradient.f_contiguous()?)).collect::<Result<Vec<_>>>()?;
        let mut work = Vec::with_capacity(all.len());
        for ((mixture, _), gradient) in all.iter().zip(&gradients) {
            let (states, gates) = (elements::<T>(&mixture.states)?, elements::<T>(&mixture.gates)?);
            work.push((mixture.sizes()?, states, gates, elements::<T>(gradient)?));
        }
        let sizes = |index: usize| work[index].1.len();
        let found = parallel_map(all.len(), sizes, |index| {
            let (sizes, states, gates, g) = work[index];
            weight_sums(sizes, states, gates, g)
        })?;
        let shaped = |(sums, (mixture, _)): (Vec<[f64; 4]>, &(&GateMixture, &Tensor))| {
            let chosen =
                |sums: &[f64; 4]| mixture.columns.iter().map(|column| T::from_f64(sums[*column])).collect::<Vec<_>>();
            let flat: Vec<T> = sums.iter().flat_map(chosen).collect();
            Ok(Tensor::f_from_slice(&flat)?.f_view(mixture.weights.size().as_slice())?)
        };
        found.into_iter().zip(all).map(shaped).collect()
    }
}

/// The slices that a mixture writes to.
struct Outputs<'a, T> {
    value: &'a mut [T],
    by_state: &'a mut [T],
    by_gate: &'a mut [T],
}

fn forward<T: Real>(sizes: Sizes, weights: &[Weights<T>], states: &[T], gates: &[T], outputs: Outputs<T>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { forward_avx2(sizes, weights, states, gates, outputs) };
    }
    forward_generic::<T, false>(sizes, weights, states, gates, outputs)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn forward_avx2<T: Real>(sizes: Sizes, weights: &[Weights<T>], states: &[T], gates: &[T], outputs: Outputs<T>) {
    forward_generic::<T, true>(sizes, weights, states, gates, outputs)
}

#[inline(always)]
fn forward_generic<T: Real, const FUSED: bool>(
    sizes: Sizes,
    weights: &[Weights<T>],
    states: &[T],
    gates: &[T],
    outputs: Outputs<T>,
) {
    let units = sizes.units;
    let rows = states.chunks_exact(units).zip(gates.chunks_exact(2 * units));
    let by = outputs.by_state.chunks_exact_mut(units).zip(outputs.by_gate.chunks_exact_mut(2 * units));
    for (row, ((s, gates), (by_s, by_gate))) in rows.zip(by).enumerate() {
        let value = &mut outputs.value[row % sizes.batch * units..][..units];
        let ((c, u), (by_c, by_u)) = (gates.split_at(units), by_gate.split_at_mut(units));
        forward_row::<T, FUSED>(&weights[row / sizes.batch], [s, c, u], value, [by_s, by_c, by_u]);
    }
}

/// The number of elements computed at once. They are copied to arrays, which the compiler knows not to overlap.
const BLOCK: usize = 32;

/// One block of a row, padded with zeros.
#[inline(always)]
fn block<T: Real>(row: &[T], at: usize) -> [T; BLOCK] {
    let rest = &row[at..];
    match rest.first_chunk::<BLOCK>() {
        Some(block) => *block,
        None => {
            let mut block = [T::ZERO; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            block
        }
    }
}

/// Writes one block to a row, cut at the end of the row.
#[inline(always)]
fn put<T: Real>(row: &mut [T], at: usize, block: &[T; BLOCK]) {
    let rest = &mut row[at..];
    match rest.first_chunk_mut::<BLOCK>() {
        Some(target) => *target = *block,
        None => {
            let length = rest.len();
            rest.copy_from_slice(&block[..length]);
        }
    }
}

/// Adds the gates of one state and one sequence to the mixture, and writes their derivatives.
#[inline(always)]
fn forward_row<T: Real, const FUSED: bool>(weights: &Weights<T>, of: [&[T]; 3], value: &mut [T], by: [&mut [T]; 3]) {
    let [of_tanh, of_relu, of_sigmoid, of_identity] = *weights;
    let all = of_tanh + of_relu + of_sigmoid + of_identity;
    let [by_s, by_c, by_u] = by;
    for at in (0..value.len()).step_by(BLOCK) {
        let [s, c, u] = of.map(|row| block(row, at));
        let mut sum = block(value, at);
        let (mut of_s, mut of_c, mut of_u) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK], [T::ZERO; BLOCK]);
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

/// For each state and activation f the sum of g·(s + σ(c)·(f(u) − s)).
fn weight_sums<T: Real>(sizes: Sizes, states: &[T], gates: &[T], g: &[T]) -> Vec<[f64; 4]> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { weight_sums_avx2(sizes, states, gates, g) };
    }
    weight_sums_generic::<T, false>(sizes, states, gates, g)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn weight_sums_avx2<T: Real>(sizes: Sizes, states: &[T], gates: &[T], g: &[T]) -> Vec<[f64; 4]> {
    weight_sums_generic::<T, true>(sizes, states, gates, g)
}

#[inline(always)]
fn weight_sums_generic<T: Real, const FUSED: bool>(sizes: Sizes, states: &[T], gates: &[T], g: &[T]) -> Vec<[f64; 4]> {
    let units = sizes.units;
    let mut found = vec![[0.0; 4]; sizes.states];
    let rows = states.chunks_exact(units).zip(gates.chunks_exact(2 * units));
    for (row, (s, gates)) in rows.enumerate() {
        let g = &g[row % sizes.batch * units..][..units];
        let (c, u) = gates.split_at(units);
        let mut sums = [[T::ZERO; BLOCK]; 4];
        for at in (0..units).step_by(BLOCK) {
            // Beyond the end of a row, g is zero.
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
            *found += sums.into_iter().map(T::to_f64).sum::<f64>();
        }
    }
    found
}
