//! In which numbers a network computes: element types, and how exactly products are taken.

use std::cell::Cell;
use std::sync::Arc;

use tch::Kind;

use crate::error::Result;

/// Turns TensorFloat-32 products on and off. libtorch keeps this switch out of tch's reach, so the binding
/// brings it.
pub trait MatrixPrecision: Send + Sync {
    /// Allows or forbids TensorFloat-32 in products of float32 tensors.
    fn allow_tf32(&self, on: bool) -> Result<()>;

    /// Puts the switch back where it was before the first of the calls since the last time.
    fn restore(&self);
}

/// The arithmetic of a network, now.
pub(super) struct Arithmetic {
    kind: Kind,
    compute: Kind,
    tf32: bool,
    switch: Option<Arc<dyn MatrixPrecision>>,
    exact: Cell<bool>,
}

impl Arithmetic {
    /// Weights in `kind`, activations in `compute`; products in TensorFloat-32 where `tf32` says so and there is a
    /// switch for it.
    pub fn new(kind: Kind, compute: Kind, tf32: bool, switch: Option<Arc<dyn MatrixPrecision>>) -> Self {
        Arithmetic { kind, compute, tf32, switch, exact: Cell::new(false) }
    }

    /// Element type of activations.
    pub fn compute(&self) -> Kind {
        if self.exact.get() { self.kind } else { self.compute }
    }

    /// Every product in float32 or better, or as it was.
    pub fn set_exact(&self, on: bool) -> Result<()> {
        self.exact.set(on);
        self.set_switch()
    }

    /// The switch belongs to the whole process, so every pass sets it anew.
    pub fn set_switch(&self) -> Result<()> {
        match &self.switch {
            Some(switch) => switch.allow_tf32(self.tf32 && !self.exact.get()),
            None => Ok(()),
        }
    }
}
