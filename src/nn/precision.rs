//! In which numbers a network computes: element types, and how exactly products are taken.

use std::cell::Cell;
use std::sync::Arc;

use tch::Kind;

use crate::config::Precision;
use crate::error::{Error, Result};

/// Turns TensorFloat-32 products on and off. libtorch keeps this switch out of tch's reach, so the binding
/// brings it.
pub trait MatrixPrecision: Send + Sync {
    /// Allows or forbids TensorFloat-32 in products of float32 tensors.
    fn allow_tf32(&self, on: bool) -> Result<()>;

    /// Puts the switch back where it was before the first of the calls since the last time.
    fn restore(&self);
}

/// How a precision is computed.
#[derive(Clone)]
pub struct Numbers {
    /// Element type of w, α, statistics, and of the loss.
    pub kind: Kind,
    /// Element type of the activations: `kind`, or bfloat16 over float32 weights.
    pub compute: Kind,
    /// Products in TensorFloat-32 outside the exact passes.
    pub tf32: bool,
    /// The switch for it; absent where the device has no TensorFloat-32.
    pub switch: Option<Arc<dyn MatrixPrecision>>,
}

impl Numbers {
    /// Of a precision on a device that has TensorFloat-32 or not, and of its switch.
    pub fn new(precision: Precision, has_tf32: bool, switch: Option<Arc<dyn MatrixPrecision>>) -> Result<Self> {
        let (kind, compute, tf32) = match precision {
            Precision::Auto => (Kind::Float, Kind::Float, has_tf32),
            Precision::Float64 => (Kind::Double, Kind::Double, false),
            Precision::Float32 => (Kind::Float, Kind::Float, false),
            Precision::Tf32 if has_tf32 => (Kind::Float, Kind::Float, true),
            Precision::Tf32 => {
                return Err(Error::device(
                    "precision \"tf32\" needs a CUDA device of Ampere or later; use precision=\"float32\" or \"auto\"",
                ));
            }
            Precision::Bfloat16 => (Kind::Float, Kind::BFloat16, has_tf32),
        };
        Ok(Numbers { kind, compute, tf32, switch })
    }

    /// The precision that this is, never `Auto`.
    pub fn precision(&self) -> Precision {
        match (self.kind, self.compute) {
            (Kind::Double, _) => Precision::Float64,
            (_, Kind::BFloat16) => Precision::Bfloat16,
            _ if self.tf32 => Precision::Tf32,
            _ => Precision::Float32,
        }
    }
}

/// The arithmetic of a network, now.
pub(super) struct Arithmetic {
    numbers: Numbers,
    exact: Cell<bool>,
}

impl Arithmetic {
    /// In these numbers.
    pub fn new(numbers: Numbers) -> Self {
        Arithmetic { numbers, exact: Cell::new(false) }
    }

    /// Element type of activations.
    pub fn compute(&self) -> Kind {
        if self.exact.get() { self.numbers.kind } else { self.numbers.compute }
    }

    /// Every product in float32 or better, or as it was.
    pub fn set_exact(&self, on: bool) -> Result<()> {
        self.exact.set(on);
        self.set_switch()
    }

    /// The switch belongs to the whole process, so every pass sets it anew.
    pub fn set_switch(&self) -> Result<()> {
        match &self.numbers.switch {
            Some(switch) => switch.allow_tf32(self.numbers.tf32 && !self.exact.get()),
            None => Ok(()),
        }
    }
}
