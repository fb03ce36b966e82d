//! The scalars that a step reads and measures, in tensors whose addresses do not change. The host sets the inputs
//! before a step, and reads the report after it or after several steps.

use tch::{Device, Kind, Tensor};

use super::engine::Extra;
use crate::error::{Error, Result};
use crate::search::trajectory::values;

/// The inputs that change from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepInputs {
    /// Learning rate of w, and ξ of the virtual step.
    pub lr: f64,
    /// Weight decay of w.
    pub decay: f64,
    /// Adam's learning rate divided by its first bias correction.
    pub adam_rate: f64,
    /// The square root of Adam's second bias correction.
    pub adam_root: f64,
    /// Whether the batches of training and validation continue their streams; otherwise they begin new ones.
    pub continues: [bool; 2],
}

/// The tensors through which host and step communicate.
#[derive(Debug)]
pub struct Scalars {
    /// See [`StepInputs`].
    inputs: Tensor,
    /// Whether no step has failed since the host read the last report. Steps after a failed one are rolled back too.
    healthy: Tensor,
    /// See [`Report`].
    report: Tensor,
    /// The names of the last scalars of the report.
    measured: Vec<&'static str>,
}

/// The names of the scalars that must be finite.
const CHECKED: [&str; 6] =
    ["validation loss", "gradient of α", "magnitude of α", "training loss", "gradient of w", "magnitude of w"];

/// The length of a report without what else a step measures: the checked scalars, the number of correct predictions,
/// whether the step was good.
const LENGTH: usize = CHECKED.len() + 2;

impl Scalars {
    /// The scalars for a network of this dtype and device, and for what else a step measures.
    pub fn new((kind, device): (Kind, Device), measured: Vec<&'static str>) -> Result<Self> {
        Ok(Scalars {
            inputs: Tensor::f_zeros([6], (kind, device))?,
            healthy: Tensor::f_ones([0i64; 0], (Kind::Bool, device))?,
            report: Tensor::f_zeros([(LENGTH + measured.len()) as i64], (Kind::Double, device))?,
            measured,
        })
    }

    /// The same tensors.
    pub fn share(&self) -> Scalars {
        Scalars {
            inputs: self.inputs.shallow_clone(),
            healthy: self.healthy.shallow_clone(),
            report: self.report.shallow_clone(),
            measured: self.measured.clone(),
        }
    }

    /// All tensors, not copied.
    pub fn tensors(&self) -> [&Tensor; 3] {
        [&self.inputs, &self.healthy, &self.report]
    }

    /// Sets the inputs of the next step. A fill passes its number with the kernel launch, whereas a copy from the
    /// host's memory would wait for the device.
    pub fn set(&mut self, inputs: StepInputs) -> Result<()> {
        let [train, valid] = inputs.continues.map(|continues| f64::from(u8::from(continues)));
        let numbers = [inputs.lr, inputs.adam_rate, inputs.adam_root, train, valid, inputs.decay];
        for (index, number) in numbers.into_iter().enumerate() {
            // libtorch refuses a number that float32 cannot hold; an infinite one fails the step, which names it.
            let number = if self.inputs.kind() == Kind::Double { number } else { f64::from(number as f32) };
            let _ = self.inputs.f_select(0, index as i64)?.f_fill_(number)?;
        }
        Ok(())
    }

    /// The learning rate of w, and ξ: a scalar.
    pub fn lr(&self) -> Result<Tensor> {
        Ok(self.inputs.f_select(0, 0)?)
    }

    /// The weight decay of w: a scalar.
    pub fn decay(&self) -> Result<Tensor> {
        Ok(self.inputs.f_select(0, 5)?)
    }

    /// Adam's learning rate divided by its first bias correction, and the square root of the second: scalars.
    pub fn adam(&self) -> Result<(Tensor, Tensor)> {
        Ok((self.inputs.f_select(0, 1)?, self.inputs.f_select(0, 2)?))
    }

    /// The factors of the carried states of training and validation: 1 if the stream continues, else 0.
    pub fn keep(&self) -> Result<[Tensor; 2]> {
        Ok([self.inputs.f_select(0, 3)?, self.inputs.f_select(0, 4)?])
    }

    /// Writes the report of a step, in the order of [`CHECKED`]; `alpha` is None if α does not move, and `correct` if the
    /// network does not predict classes. `extras`: what else it measured, NaN where it did not. Returns whether this step and all since the last report was read were good: a
    /// boolean scalar on the device.
    pub fn conclude(
        &mut self,
        alpha: Option<[&Tensor; 3]>,
        weights: [&Tensor; 3],
        correct: Option<&Tensor>,
        extras: &[Extra],
    ) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let number = |tensor: &Tensor| Ok::<_, Error>(tensor.f_detach()?.f_to_kind(Kind::Double)?.f_reshape([1])?);
        let zero = Tensor::f_zeros([1], (Kind::Double, self.report.device()))?;
        let checked = alpha.unwrap_or([&zero; 3]).into_iter().chain(weights).map(number).collect::<Result<Vec<_>>>()?;
        let checked = Tensor::f_cat(&checked, 0)?;
        let good = checked.f_isfinite()?.f_all()?.f_logical_and(&self.healthy)?;
        let or_nan = |value: Option<&Tensor>| match value {
            Some(value) => number(value),
            None => Ok(Tensor::f_full([1], f64::NAN, (Kind::Double, self.report.device()))?),
        };
        let mut report = vec![checked, or_nan(correct)?, number(&good)?];
        for name in &self.measured {
            report.push(or_nan(extras.iter().find(|(known, _)| known == name).map(|(_, value)| value))?);
        }
        self.report.f_copy_(&Tensor::f_cat(&report, 0)?)?;
        self.healthy.f_copy_(&good)?;
        Ok(good)
    }

    /// The report of the latest step.
    pub fn report(&self) -> &Tensor {
        &self.report
    }

    /// Clears the failure of a step whose report was read.
    pub fn recover(&mut self) -> Result<()> {
        let _ = self.healthy.f_fill_(1)?;
        Ok(())
    }
}

/// The report of a step, on the host.
#[derive(Debug, Clone)]
pub struct Report {
    /// The validation loss at which α's gradient was computed; 0 if α did not move.
    pub valid_loss: f64,
    /// The training loss before the weight step.
    pub train_loss: f64,
    /// The number of training examples predicted correctly, a fraction of an example with several targets; None if the
    /// network does not predict classes.
    pub correct: Option<f64>,
    /// What else the step measured, in the order of its names; NaN where it did not.
    pub extras: Vec<f64>,
}

impl Report {
    /// Reads the report of step `step`; waits for the device. A failed step is an error that names the scalar that was
    /// not finite.
    pub fn read(report: &Tensor, step: u64) -> Result<Report> {
        let numbers = values(report)?;
        for (what, value) in CHECKED.iter().zip(&numbers) {
            if !value.is_finite() {
                return Err(Error::numerical(format!(
                    "the {what} became {value} at step {step}, which was rolled back. Lower weight_lr, arch_lr or grad_clip, or \
                     look for extreme values in the data"
                )));
            }
        }
        match numbers[..] {
            [valid_loss, _, _, train_loss, _, _, correct, 1.0, ref extras @ ..] => {
                let correct = (!correct.is_nan()).then_some(correct);
                Ok(Report { valid_loss, train_loss, correct, extras: extras.to_vec() })
            }
            _ => Err(Error::engine(format!("step {step} was rolled back for an unknown reason; please report this"))),
        }
    }
}
