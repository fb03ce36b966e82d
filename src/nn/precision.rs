//! The dtypes that a network computes in, and the precision of its matrix products.

use std::cell::Cell;
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::config::Precision;
use crate::error::{Error, Result};

/// Turns TensorFloat-32 products on and off. tch does not bind this switch of libtorch, so the Python binding
/// implements it.
pub trait MatrixPrecision: Send + Sync {
    /// Allows or forbids TensorFloat-32 in products of float32 tensors.
    fn allow_tf32(&self, on: bool) -> Result<()>;

    /// Restores the setting from before the first call of `allow_tf32` since the last restore.
    fn restore(&self);
}

/// The dtypes and switches that implement a precision.
#[derive(Clone)]
pub struct Numbers {
    /// Dtype of w, α, statistics and loss.
    pub kind: Kind,
    /// Dtype of the activations: `kind`, or bfloat16 with float32 weights.
    pub compute: Kind,
    /// Whether products outside exact passes use TensorFloat-32.
    pub tf32: bool,
    /// The switch for it; None if the device has no TensorFloat-32.
    pub switch: Option<Arc<dyn MatrixPrecision>>,
}

impl Numbers {
    /// Implements a precision on a device with or without TensorFloat-32.
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

    /// The precision that this implements, never `Auto`.
    pub fn precision(&self) -> Precision {
        match (self.kind, self.compute) {
            (Kind::Double, _) => Precision::Float64,
            (_, Kind::BFloat16) => Precision::Bfloat16,
            _ if self.tf32 => Precision::Tf32,
            _ => Precision::Float32,
        }
    }
}

/// The current precision of a network.
pub struct Arithmetic {
    numbers: Numbers,
    exact: Cell<bool>,
}

impl Arithmetic {
    /// Starts outside the exact mode.
    pub fn new(numbers: Numbers) -> Self {
        Arithmetic { numbers, exact: Cell::new(false) }
    }

    /// Dtype of the activations.
    pub fn compute(&self) -> Kind {
        if self.exact.get() { self.numbers.kind } else { self.numbers.compute }
    }

    /// Enters or leaves the exact mode, in which every product is computed in float32 or better.
    pub fn set_exact(&self, on: bool) -> Result<()> {
        self.exact.set(on);
        self.set_switch()
    }

    /// Sets the switch. It is global to the process, so every pass sets it.
    pub fn set_switch(&self) -> Result<()> {
        match &self.numbers.switch {
            Some(switch) => switch.allow_tf32(self.numbers.tf32 && !self.exact.get()),
            None => Ok(()),
        }
    }
}

/// The tensor in another dtype. The call alone takes microseconds, so a tensor that has the dtype is not converted.
pub(super) fn in_kind(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    if tensor.f_kind()? == kind { Ok(tensor.shallow_clone()) } else { Ok(tensor.f_to_kind(kind)?) }
}
