//! Layers with weights and statistics: convolutions, batch norms and the classifier.

use tch::Tensor;

use super::executable::Prepared;
use super::execute::Forward;
use super::layout::{both, subsampled};
use super::weight_gradients::Deferred;
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::nn::buffers::{EPSILON, MOMENTUM};
use crate::nn::precision::in_kind;
use crate::plan::{Op, Scale, WeightId};

impl Forward<'_> {
    /// The convolution `op` of `x`; the gradient of its kernel is deferred if that is faster.
    pub(super) fn deferrable_convolution(&self, op: &Op, x: &Tensor, weight: WeightId) -> Result<Tensor> {
        let kernel = self.weight(weight);
        let deferred = self.deferred.as_ref().filter(|_| Deferred::applies_to_convolution(op, x, kernel));
        let Some(deferred) = deferred else { return self.convolution(op, x, kernel) };
        let y = self.convolution(op, x, &kernel.f_detach()?)?;
        deferred.borrow_mut().push(Deferred::convolution(op, self.weight_leaf(weight), kernel, x, &y)?);
        Ok(y)
    }

    /// The convolution `op` of `x` with a kernel of the right shape.
    pub fn convolution(&self, op: &Op, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        let Op::Conv { stride, padding, dilation, groups, .. } = op else {
            return Err(Error::engine(format!("expected a convolution, got {op:?}")));
        };
        let kernel = in_kind(kernel, self.compute)?;
        let (pointwise, strided) = (kernel.size()[2..] == [1, 1], *stride != [1, 1]);
        let (x, stride) = match pointwise && strided {
            true => (subsampled(x, both(*stride))?, [1, 1]),
            false => (x.shallow_clone(), both(*stride)),
        };
        let dilation = [*dilation as i64; 2];
        Ok(x.f_conv2d(&kernel, None::<Tensor>, stride, both(*padding), dilation, *groups as i64)?)
    }

    /// Ones as the scale of a batch norm of activations in a narrower dtype than the statistics: libtorch computes
    /// statistics in the dtype of the scale, and in that of the activations without one. None if the dtypes are equal.
    pub fn unit_scale(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let narrower = x.f_kind()? != self.kind;
        Ok(narrower.then(|| Tensor::f_ones([x.size()[1]], (self.kind, x.device()))).transpose()?)
    }

    /// `x` normalised; None if running statistics were not prepared.
    pub(super) fn batch_norm(&self, x: &Tensor, scale: &Scale, prepared: &Prepared) -> Result<Option<Tensor>> {
        let unit = if matches!(scale, Scale::One) { self.unit_scale(x)? } else { None };
        let (scale, shift) = match scale {
            Scale::One => (unit.as_ref(), None),
            Scale::Affine { weight, bias } => (Some(self.weight(*weight)), Some(self.weight(*bias))),
            Scale::Mixing { alpha, .. } => (Some(self.mixing[alpha.0].scale(prepared.scale)), None),
        };
        let Some(running) = &prepared.running else { return Ok(None) };
        let running = match self.mode {
            Mode::Search => None,
            Mode::Weights => Some(&running.raw),
            Mode::Evaluation => Some(&running.corrected),
        };
        let (mean, variance) = running.map(|(mean, variance)| (mean, variance)).unzip();
        let training = self.mode != Mode::Evaluation;
        Ok(Some(x.f_batch_norm(scale, shift, mean, variance, training, MOMENTUM, EPSILON, true)?))
    }

    pub(super) fn linear(&self, x: &Tensor, weight: WeightId, bias: WeightId) -> Result<Tensor> {
        let x = in_kind(x, self.kind)?;
        Ok(x.f_linear(self.weight(weight), Some(self.weight(bias)))?)
    }
}
