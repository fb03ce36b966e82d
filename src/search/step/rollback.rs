//! Undoing a step on the device: whether it was good is known there long before the host looks.

use tch::Tensor;

use crate::error::Result;
use crate::params::copy;

/// Tensors as they were before a step writes to them.
#[derive(Default)]
pub struct Undo(Vec<(Tensor, Tensor)>);

impl Undo {
    /// Remembers what these hold now.
    pub fn keep<'t>(&mut self, tensors: impl IntoIterator<Item = &'t Tensor>) -> Result<()> {
        for tensor in tensors {
            self.0.push((tensor.shallow_clone(), copy(tensor)?));
        }
        Ok(())
    }

    /// Puts all of it back where `good`, a boolean scalar on the device, does not hold. NaN goes with it: it is
    /// chosen away, not multiplied by zero.
    pub fn unless(&mut self, good: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (live, before) in &mut self.0 {
            let chosen = live.f_where_self(good, before)?;
            live.f_copy_(&chosen)?;
        }
        Ok(())
    }

    /// Puts all of it back.
    pub fn all(&mut self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        self.0.iter_mut().try_for_each(|(live, before)| Ok(live.f_copy_(before)?))
    }
}
