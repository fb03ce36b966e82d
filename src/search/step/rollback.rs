//! Rolls back a step on the device, which knows whether the step was good long before the host reads its report.

use tch::Tensor;

use crate::error::Result;
use crate::params::copy;

/// Copies of tensors, taken before a step writes to them.
#[derive(Default)]
pub struct Rollback(Vec<(Tensor, Tensor)>);

impl Rollback {
    /// Copies these tensors.
    pub fn save<'t>(&mut self, tensors: impl IntoIterator<Item = &'t Tensor>) -> Result<()> {
        for tensor in tensors {
            self.0.push((tensor.shallow_clone(), copy(tensor)?));
        }
        Ok(())
    }

    /// Restores the elements of the `count` tensors saved last for which `fixed` is true.
    pub fn restore_where(&mut self, fixed: &Tensor, count: usize) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let first = self.0.len().saturating_sub(count);
        for (live, before) in &mut self.0[first..] {
            let selected = before.f_where_self(fixed, live)?;
            live.f_copy_(&selected)?;
        }
        Ok(())
    }

    /// Restores all tensors unless `good`, a boolean scalar on the device, is true. It selects instead of multiplying
    /// by zero, so that NaN is restored too.
    pub fn unless(&mut self, good: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (live, before) in &mut self.0 {
            let selected = live.f_where_self(good, before)?;
            live.f_copy_(&selected)?;
        }
        Ok(())
    }

    /// Restores all tensors.
    pub fn all(&mut self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        self.0.iter_mut().try_for_each(|(live, before)| Ok(live.f_copy_(before)?))
    }
}
