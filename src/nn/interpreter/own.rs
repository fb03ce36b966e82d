//! Modules of user-defined operations.

use tch::{Device, Tensor};

use super::execute::Forward;
use super::layout::channels_second;
use crate::error::{Error, Result};
use crate::nn::NamedBuffers;
use crate::nn::networks::user_operation::Own;
use crate::nn::precision::in_kind;
use crate::plan::{OwnId, WeightId};

impl Forward<'_> {
    /// The output of a module.
    pub(super) fn own_module(&self, x: &Tensor, module: OwnId, weights: &[WeightId]) -> Result<Tensor> {
        let (own, buffers) = self.own()?;
        let y = own.forward(module, &self.as_input(x)?, &self.own_weights(weights), buffers, self.mode)?;
        self.as_value(&y)
    }

    /// The output of a module and its derivative along a tangent of its input and tangents of its weights.
    pub(super) fn own_module_along(
        &self,
        (x, tangent): (&Tensor, Option<&Tensor>),
        module: OwnId,
        weights: &[WeightId],
        direction: &[Tensor],
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (own, buffers) = self.own()?;
        let (x, tangent) = (self.as_input(x)?, tangent.map(|tangent| self.as_input(tangent)).transpose()?);
        let moved = (tangent.as_ref(), direction);
        let found = own.along(module, &x, &self.own_weights(weights), buffers, moved)?;
        Ok((self.as_value(&found.0)?, found.1.map(|tangent| self.as_value(&tangent)).transpose()?))
    }

    fn own(&self) -> Result<(&Own, &NamedBuffers)> {
        self.own.ok_or_else(|| Error::engine("the modules of user-defined operations are missing"))
    }

    fn own_weights(&self, weights: &[WeightId]) -> Vec<Tensor> {
        weights.iter().map(|weight| self.weight(*weight).shallow_clone()).collect()
    }

    /// A value as the input of a module: sequences [N, C, L] without the height that they have in a plan.
    fn as_input(&self, x: &Tensor) -> Result<Tensor> {
        let sequences = self.executable.plan.space.dimensions() == Some(1);
        if sequences { Ok(x.f_squeeze_dim(2)?) } else { Ok(x.shallow_clone()) }
    }

    /// The output of a module in the dtype and layout of other values.
    fn as_value(&self, y: &Tensor) -> Result<Tensor> {
        let y = in_kind(y, self.compute)?;
        let y = if y.dim() == 3 { y.f_unsqueeze(2)? } else { y };
        if y.device() != Device::Cpu {
            return Ok(y);
        }
        channels_second(&y.f_permute([0, 2, 3, 1])?.f_contiguous()?)
    }
}
