//! Cross-entropy of a linear decoder and its gradients, on the CPU. Logits are computed and differentiated a few rows
//! at a time, so that they stay in the cache, and units that dropout sets to zero are not multiplied.
//!
//! libtorch passes the logits of a whole segment through memory eight times, and its exponential alone takes as long
//! as a matrix product.

use tch::{Device, Kind, Tensor};

use super::exp::Real;
use super::parallel::elements_mut;
use crate::error::{Error, Result};

/// A loss and its gradients, detached from every graph.
pub struct DecoderLoss {
    /// The mean cross-entropy, a scalar.
    pub loss: Tensor,
    /// The number of rows whose target has the largest logit, a scalar.
    pub correct: Tensor,
    /// The gradient with respect to the decoder's input. It is zero where the mask is zero: no gradient passes there.
    pub x_gradient: Tensor,
    /// The gradients with respect to the decoder's weight and bias, if requested.
    pub decoder_gradients: Option<[Tensor; 2]>,
}

/// A linear decoder: weight [words, units] and bias [words].
pub struct Decoder<'a> {
    /// [words, units].
    pub weight: &'a Tensor,
    /// [words].
    pub bias: &'a Tensor,
}

/// The number of logits computed at once without a mask.
const AT_ONCE: i64 = 1 << 20;

impl Decoder<'_> {
    /// Whether this kernel applies to the input `x`: on the CPU, and with a graph to `x`, through which autograd
    /// reaches the loss.
    pub fn applies_to(&self, x: &Tensor) -> bool {
        let known = matches!(x.kind(), Kind::Float | Kind::Double) && x.kind() == self.weight.kind();
        known && x.device() == Device::Cpu && x.requires_grad()
    }

    /// The loss of `x` [tokens, batch, units] against `targets` [tokens, batch]. `mask` [batch, units] is the dropout
    /// mask that `x` was multiplied by: the zeros of a sequence are the same at every token. `differentiate` requests
    /// the gradients with respect to weight and bias.
    pub fn loss(
        &self,
        x: &Tensor,
        targets: &Tensor,
        mask: Option<&Tensor>,
        differentiate: bool,
    ) -> Result<DecoderLoss> {
        let _guard = tch::no_grad_guard();
        let x = x.f_detach()?;
        // Row i is the contribution of unit i to the logits.
        let rows = self.weight.f_detach()?.f_transpose(0, 1)?.f_contiguous()?;
        let words = rows.size()[1];
        let mut sums = Sums {
            scale: 1.0 / targets.numel() as f64,
            loss: 0.0,
            correct: 0,
            bias: self.bias.f_detach()?,
            row_gradient: differentiate.then(|| rows.f_zeros_like()).transpose()?,
            bias_gradient: differentiate.then(|| self.bias.f_zeros_like()).transpose()?,
        };
        let x_gradient = match mask {
            Some(mask) => {
                let x_gradient = x.f_zeros_like()?;
                for sequence in 0..x.size()[1] {
                    let kept = mask.f_select(0, sequence)?.f_nonzero()?.f_flatten(0, -1)?;
                    let some = x.f_select(1, sequence)?.f_index_select(1, &kept)?;
                    let targets = targets.f_select(1, sequence)?;
                    let gradient = sums.add(&some, &rows.f_index_select(0, &kept)?, &targets, Some(&kept))?;
                    let _ = x_gradient.f_select(1, sequence)?.f_index_copy_(1, &kept, &gradient)?;
                }
                x_gradient
            }
            None => {
                let at_once = (AT_ONCE / words).max(1);
                let (all, targets) = (x.f_flatten(0, 1)?, targets.f_flatten(0, 1)?);
                let pairs = all.f_split(at_once, 0)?.into_iter().zip(targets.f_split(at_once, 0)?);
                let gradients = pairs.map(|(some, targets)| sums.add(&some, &rows, &targets, None));
                Tensor::f_cat(&gradients.collect::<Result<Vec<_>>>()?, 0)?.f_view_as(&x)?
            }
        };
        let scalar = |number: f64| Ok::<_, Error>(Tensor::f_from_slice(&[number])?.f_select(0, 0)?);
        let weight_gradient = sums.row_gradient.map(|rows| rows.f_transpose(0, 1)?.f_contiguous()).transpose()?;
        Ok(DecoderLoss {
            loss: scalar(sums.loss * sums.scale)?.f_to_kind(x.f_kind()?)?,
            correct: Tensor::f_from_slice(&[sums.correct])?.f_select(0, 0)?,
            x_gradient,
            decoder_gradients: weight_gradient.zip(sums.bias_gradient).map(|(weight, bias)| [weight, bias]),
        })
    }
}

/// Sums over the rows so far.
struct Sums {
    /// The share of one row in the mean loss.
    scale: f64,
    loss: f64,
    correct: i64,
    bias: Tensor,
    row_gradient: Option<Tensor>,
    bias_gradient: Option<Tensor>,
}

impl Sums {
    /// Adds the losses and gradients of some inputs `x` [n, units], and returns the gradient with respect to `x`.
    /// `rows` [units, words] are the decoder's weights of these units, which `kept` selects unless all units are used.
    fn add(&mut self, x: &Tensor, rows: &Tensor, targets: &Tensor, kept: Option<&Tensor>) -> Result<Tensor> {
        let mut logits = self.bias.f_addmm(x, rows)?;
        let targets = Vec::<i64>::try_from(targets.f_contiguous()?)?;
        let rows_of_x = match x.f_kind()? {
            Kind::Double => differentiate::<f64>(&mut logits, &targets, self.scale)?,
            _ => differentiate::<f32>(&mut logits, &targets, self.scale)?,
        };
        for (loss, correct) in rows_of_x {
            self.loss += loss;
            self.correct += i64::from(correct);
        }
        let logit_gradient = logits;
        if let (Some(row_gradient), Some(bias_gradient)) = (&mut self.row_gradient, &mut self.bias_gradient) {
            let transposed = x.f_transpose(0, 1)?;
            let _ = match kept {
                Some(kept) => row_gradient.f_index_add_(0, kept, &transposed.f_mm(&logit_gradient)?)?,
                None => row_gradient.f_addmm_(&transposed, &logit_gradient)?,
            };
            let _ = bias_gradient.f_add_(&logit_gradient.f_sum_dim_intlist([0i64].as_slice(), false, None)?)?;
        }
        Ok(logit_gradient.f_mm(&rows.f_transpose(0, 1)?)?)
    }
}

/// Overwrites logits [rows, words] with the gradient of `scale` times the sum of the rows' losses. Returns the loss of
/// each row, and whether its target has the largest logit.
fn differentiate<T: Real>(logits: &mut Tensor, targets: &[i64], scale: f64) -> Result<Vec<(f64, bool)>> {
    let words = logits.size()[1] as usize;
    if let Some(target) = targets.iter().find(|target| !(0..words as i64).contains(*target)) {
        return Err(Error::data(format!("expected targets in [0, {}], got {target}", words - 1)));
    }
    Ok(softmax_rows(elements_mut::<T>(logits)?, targets, T::from_f64(scale)))
}

fn softmax_rows<T: Real>(logits: &mut [T], targets: &[i64], scale: T) -> Vec<(f64, bool)> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { rows_avx2(logits, targets, scale) };
    }
    rows_generic::<T, false>(logits, targets, scale)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn rows_avx2<T: Real>(logits: &mut [T], targets: &[i64], scale: T) -> Vec<(f64, bool)> {
    rows_generic::<T, true>(logits, targets, scale)
}

// Loops, not iterators: a closure that is not inlined would be compiled without AVX2.
#[inline(always)]
fn rows_generic<T: Real, const FUSED: bool>(logits: &mut [T], targets: &[i64], scale: T) -> Vec<(f64, bool)> {
    let mut found = Vec::with_capacity(targets.len());
    for (row, target) in logits.chunks_exact_mut(logits.len() / targets.len().max(1)).zip(targets) {
        found.push(softmax_row::<T, FUSED>(row, *target as usize, scale));
    }
    found
}

/// The number of elements computed at once.
const LANES: usize = 32;

#[inline(always)]
fn softmax_row<T: Real, const FUSED: bool>(row: &mut [T], target: usize, scale: T) -> (f64, bool) {
    let largest = largest(row);
    let at_target = row[target];
    let correct = row.iter().position(|logit| *logit == largest) == Some(target);
    let mut sums = [T::ZERO; LANES];
    let (blocks, rest) = row.as_chunks_mut::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            block[lane] = (block[lane] - largest).exp::<FUSED>();
            sums[lane] = sums[lane] + block[lane];
        }
    }
    for (lane, logit) in rest.iter_mut().enumerate() {
        *logit = (*logit - largest).exp::<FUSED>();
        sums[lane] = sums[lane] + *logit;
    }
    let sum = sums.into_iter().map(T::to_f64).sum::<f64>();
    let share = scale / T::from_f64(sum);
    for number in row.iter_mut() {
        *number = *number * share;
    }
    row[target] = row[target] - scale;
    (sum.ln() + (largest - at_target).to_f64(), correct)
}

#[inline(always)]
fn largest<T: Real>(row: &[T]) -> T {
    let mut most = [row[0]; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            most[lane] = if block[lane] > most[lane] { block[lane] } else { most[lane] };
        }
    }
    let mut largest = row[0];
    for number in most.iter().chain(rest) {
        largest = if *number > largest { *number } else { largest };
    }
    largest
}
