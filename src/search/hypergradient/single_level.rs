//! Single level (SNAS, Xie et al., 2019): α descends the training loss, as w does. In a search the weight step's backward
//! pass gives both gradients (see `step/engine.rs`).

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep};
use crate::error::Result;
use crate::nn::By;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, _step: &VirtualStep) -> Result<ArchGradient> {
    let train = losses.train(w, alpha, By::Alpha)?;
    Ok(ArchGradient { gradient: train.alpha()?.shallow_clone(), valid_loss: train.loss })
}
