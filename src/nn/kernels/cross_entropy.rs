//! Cross-entropy of a linear decoder with its gradients, on the CPU: the logits of some rows are made, scored and
//! differentiated before those of the next, so that they stay in its cache; and what dropout drops is not multiplied.
//!
//! Left to libtorch, the logits of a whole segment pass through memory eight times, and its exponential alone takes
//! as long as a product.

use tch::{Device, Kind, Tensor};

use super::exp::Real;
use crate::error::{Error, Result};
use crate::nn::interpreter::weight_gradients::numbers_mut;

/// A loss and its gradients, outside any graph.
pub struct Scored {
    /// The mean cross-entropy, a scalar.
    pub loss: Tensor,
    /// How many targets have the largest logit, a scalar.
    pub correct: Tensor,
    /// By what the decoder read; zero where its mask is, for nothing goes further there.
    pub of_x: Tensor,
    /// By the decoder's weight and bias, where they are asked for.
    pub of_decoder: Option<[Tensor; 2]>,
}

/// A linear decoder: weight [words, units] and bias [words].
pub struct Decoder<'a> {
    /// [words, units].
    pub weight: &'a Tensor,
    /// [words].
    pub bias: &'a Tensor,
}

/// Logits that are made at once, at most, where nothing is dropped.
const AT_ONCE: i64 = 1 << 20;

impl Decoder<'_> {
    /// Whether a decoder of `x` is better scored here: on the CPU it is. Without a graph to `x` there would be none to
    /// the loss.
    pub fn suits(&self, x: &Tensor) -> bool {
        let known = matches!(x.kind(), Kind::Float | Kind::Double) && x.kind() == self.weight.kind();
        known && x.device() == Device::Cpu && x.requires_grad()
    }

    /// Scores `x` [tokens, batch, units] against `targets` [tokens, batch]; `mask` [batch, units] is what `x` was
    /// multiplied by, so that a sequence has its zeros at every token.
    pub fn score(&self, x: &Tensor, targets: &Tensor, mask: Option<&Tensor>, by_decoder: bool) -> Result<Scored> {
        let _guard = tch::no_grad_guard();
        let x = x.f_detach()?;
        // Rows of this are what a unit adds to the logits.
        let rows = self.weight.f_detach()?.f_transpose(0, 1)?.f_contiguous()?;
        let words = rows.size()[1];
        let mut sums = Sums {
            scale: 1.0 / targets.numel() as f64,
            loss: 0.0,
            correct: 0,
            bias: self.bias.f_detach()?,
            of_rows: by_decoder.then(|| rows.f_zeros_like()).transpose()?,
            of_bias: by_decoder.then(|| self.bias.f_zeros_like()).transpose()?,
        };
        let of_x = match mask {
            Some(mask) => {
                let of_x = x.f_zeros_like()?;
                for sequence in 0..x.size()[1] {
                    let kept = mask.f_select(0, sequence)?.f_nonzero()?.f_flatten(0, -1)?;
                    let some = x.f_select(1, sequence)?.f_index_select(1, &kept)?;
                    let targets = targets.f_select(1, sequence)?;
                    let of_some = sums.add(&some, &rows.f_index_select(0, &kept)?, &targets, Some(&kept))?;
                    let _ = of_x.f_select(1, sequence)?.f_index_copy_(1, &kept, &of_some)?;
                }
                of_x
            }
            None => {
                let at_once = (AT_ONCE / words).max(1);
                let (all, targets) = (x.f_flatten(0, 1)?, targets.f_flatten(0, 1)?);
                let pairs = all.f_split(at_once, 0)?.into_iter().zip(targets.f_split(at_once, 0)?);
                let of_some = pairs.map(|(some, targets)| sums.add(&some, &rows, &targets, None));
                Tensor::f_cat(&of_some.collect::<Result<Vec<_>>>()?, 0)?.f_view_as(&x)?
            }
        };
        let scalar = |number: f64| Ok::<_, Error>(Tensor::f_from_slice(&[number])?.f_select(0, 0)?);
        let of_rows = sums.of_rows.map(|of_rows| of_rows.f_transpose(0, 1)?.f_contiguous()).transpose()?;
        Ok(Scored {
            loss: scalar(sums.loss * sums.scale)?.f_to_kind(x.f_kind()?)?,
            correct: Tensor::f_from_slice(&[sums.correct])?.f_select(0, 0)?,
            of_x,
            of_decoder: of_rows.zip(sums.of_bias).map(|(of_weight, of_bias)| [of_weight, of_bias]),
        })
    }
}

/// What the rows so far add up to.
struct Sums {
    /// Of a row's loss in the whole.
    scale: f64,
    loss: f64,
    correct: i64,
    bias: Tensor,
    of_rows: Option<Tensor>,
    of_bias: Option<Tensor>,
}

impl Sums {
    /// Adds the losses and gradients of some rows `x` [rows, units], of which the decoder has `rows` [units, words],
    /// those at `kept` where they are not all; gives the gradient by `x`.
    fn add(&mut self, x: &Tensor, rows: &Tensor, targets: &Tensor, kept: Option<&Tensor>) -> Result<Tensor> {
        let mut logits = self.bias.f_addmm(x, rows)?;
        let targets = Vec::<i64>::try_from(targets.f_contiguous()?)?;
        let scored = match x.f_kind()? {
            Kind::Double => differentiate::<f64>(&mut logits, &targets, self.scale)?,
            _ => differentiate::<f32>(&mut logits, &targets, self.scale)?,
        };
        for (loss, correct) in scored {
            self.loss += loss;
            self.correct += i64::from(correct);
        }
        let of_logits = logits;
        if let (Some(of_rows), Some(of_bias)) = (&mut self.of_rows, &mut self.of_bias) {
            let across = x.f_transpose(0, 1)?;
            let _ = match kept {
                Some(kept) => of_rows.f_index_add_(0, kept, &across.f_mm(&of_logits)?)?,
                None => of_rows.f_addmm_(&across, &of_logits)?,
            };
            let _ = of_bias.f_add_(&of_logits.f_sum_dim_intlist([0i64].as_slice(), false, None)?)?;
        }
        Ok(of_logits.f_mm(&rows.f_transpose(0, 1)?)?)
    }
}

/// Puts in the place of logits [rows, words] their gradient by `scale` times the sum of the rows' losses; gives each
/// row's loss, and whether its target has the largest logit.
fn differentiate<T: Real>(logits: &mut Tensor, targets: &[i64], scale: f64) -> Result<Vec<(f64, bool)>> {
    let words = logits.size()[1] as usize;
    if let Some(target) = targets.iter().find(|target| !(0..words as i64).contains(*target)) {
        return Err(Error::data(format!("a next word is {target}; words are numbered from 0 to {}", words - 1)));
    }
    Ok(of_rows(numbers_mut::<T>(logits)?, targets, T::narrow(scale)))
}

fn of_rows<T: Real>(logits: &mut [T], targets: &[i64], scale: T) -> Vec<(f64, bool)> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { wide_of_rows(logits, targets, scale) };
    }
    any_of_rows::<T, false>(logits, targets, scale)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn wide_of_rows<T: Real>(logits: &mut [T], targets: &[i64], scale: T) -> Vec<(f64, bool)> {
    any_of_rows::<T, true>(logits, targets, scale)
}

// Loops, not iterators: what is not made inline would be compiled without the processor's own instructions.
#[inline(always)]
fn any_of_rows<T: Real, const FUSED: bool>(logits: &mut [T], targets: &[i64], scale: T) -> Vec<(f64, bool)> {
    let mut found = Vec::with_capacity(targets.len());
    for (row, target) in logits.chunks_exact_mut(logits.len() / targets.len().max(1)).zip(targets) {
        found.push(of_row::<T, FUSED>(row, *target as usize, scale));
    }
    found
}

/// Numbers that are computed beside each other.
const LANES: usize = 32;

#[inline(always)]
fn of_row<T: Real, const FUSED: bool>(row: &mut [T], target: usize, scale: T) -> (f64, bool) {
    let largest = largest(row);
    let at_target = row[target];
    let correct = row.iter().position(|logit| *logit == largest) == Some(target);
    let mut sums = [T::NONE; LANES];
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
    let sum = sums.into_iter().map(T::wide).sum::<f64>();
    let share = scale / T::narrow(sum);
    for number in row.iter_mut() {
        *number = *number * share;
    }
    row[target] = row[target] - scale;
    (sum.ln() + (largest - at_target).wide(), correct)
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
