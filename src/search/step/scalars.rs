//! What a step reads and what it measures, in tensors that stay where they are: the host fills the numbers in before a
//! step and reads the report after it, or after several.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::search::trajectory::values;

/// The numbers that change from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Learning rate of w, and ξ of the virtual step.
    pub lr: f64,
    /// Adam's learning rate over its first bias correction.
    pub adam_rate: f64,
    /// The root of Adam's second bias correction.
    pub adam_root: f64,
    /// Whether the streams of training and validation batches go on, or begin anew with this step's.
    pub goes_on: [bool; 2],
}

/// The tensors through which host and step speak.
#[derive(Debug)]
pub struct Panel {
    /// The pace.
    numbers: Tensor,
    /// Whether no step has failed since the host last looked. Steps after a failed one are undone too.
    healthy: Tensor,
    /// See [`Report`].
    report: Tensor,
}

/// A scalar that must be finite, and what it is called where it is not.
const CHECKED: [&str; 4] = ["validation loss", "gradient of α", "training loss", "gradient of w"];

/// What one step measured: the checked scalars, the right predictions, whether the step was good.
const LENGTH: i64 = CHECKED.len() as i64 + 2;

impl Panel {
    /// For a network of this element type and device.
    pub fn new(kind: Kind, device: Device) -> Result<Self> {
        Ok(Panel {
            numbers: Tensor::f_zeros([5], (kind, device))?,
            healthy: Tensor::f_ones([0i64; 0], (Kind::Bool, device))?,
            report: Tensor::f_zeros([LENGTH], (Kind::Double, device))?,
        })
    }

    /// The same tensors.
    pub fn share(&self) -> Panel {
        Panel {
            numbers: self.numbers.shallow_clone(),
            healthy: self.healthy.shallow_clone(),
            report: self.report.shallow_clone(),
        }
    }

    /// All of them.
    pub fn tensors(&self) -> [&Tensor; 3] {
        [&self.numbers, &self.healthy, &self.report]
    }

    /// Sets the numbers of the next step. Filling takes the number along with the order to fill, where copying from
    /// the host's memory would wait for the device.
    pub fn set(&mut self, pace: Pace) -> Result<()> {
        let [train, valid] = pace.goes_on.map(|goes_on| f64::from(u8::from(goes_on)));
        for (index, number) in [pace.lr, pace.adam_rate, pace.adam_root, train, valid].into_iter().enumerate() {
            let _ = self.numbers.f_select(0, index as i64)?.f_fill_(number)?;
        }
        Ok(())
    }

    /// Learning rate of w, and ξ: a scalar.
    pub fn lr(&self) -> Result<Tensor> {
        Ok(self.numbers.f_select(0, 0)?)
    }

    /// Adam's learning rate over its first bias correction, and the root of the second: scalars.
    pub fn adam(&self) -> Result<(Tensor, Tensor)> {
        Ok((self.numbers.f_select(0, 1)?, self.numbers.f_select(0, 2)?))
    }

    /// What the streams of training and validation batches carry is multiplied by these scalars.
    pub fn keep(&self) -> Result<[Tensor; 2]> {
        Ok([self.numbers.f_select(0, 3)?, self.numbers.f_select(0, 4)?])
    }

    /// Writes the report of a step, in the order of [`CHECKED`]; those of α are absent while it rests. Returns whether
    /// the step, and all since the host last looked, were good: a boolean scalar on the device.
    pub fn conclude(&mut self, alpha: Option<[&Tensor; 2]>, weights: [&Tensor; 2], correct: &Tensor) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let number = |tensor: &Tensor| Ok::<_, Error>(tensor.f_detach()?.f_to_kind(Kind::Double)?.f_reshape([1])?);
        let zero = Tensor::f_zeros([1], (Kind::Double, self.report.device()))?;
        let checked = alpha.unwrap_or([&zero; 2]).into_iter().chain(weights).map(number).collect::<Result<Vec<_>>>()?;
        let checked = Tensor::f_cat(&checked, 0)?;
        let good = checked.f_isfinite()?.f_all()?.f_logical_and(&self.healthy)?;
        self.report.f_copy_(&Tensor::f_cat(&[checked, number(correct)?, number(&good)?], 0)?)?;
        self.healthy.f_copy_(&good)?;
        Ok(good)
    }

    /// The report of the latest step, to be read later.
    pub fn report(&self) -> &Tensor {
        &self.report
    }

    /// After a failed step was looked at.
    pub fn recover(&mut self) -> Result<()> {
        let _ = self.healthy.f_fill_(1)?;
        Ok(())
    }
}

/// The report of a step, on the host.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// The validation loss where α's gradient was taken; 0 while α rests.
    pub valid_loss: f64,
    /// The training loss before the weight step.
    pub train_loss: f64,
    /// Training examples predicted right.
    pub correct: i64,
}

impl Report {
    /// Reads what a panel held after step `step`; waits for the device. A step that failed is an error that names what
    /// was not finite.
    pub fn read(report: &Tensor, step: u64) -> Result<Report> {
        let numbers = values(report)?;
        for (what, value) in CHECKED.iter().zip(&numbers) {
            if !value.is_finite() {
                return Err(Error::numerical(format!(
                    "the {what} became {value} at step {step}; the state before that step is kept. Lower weight_lr, \
                     arch_lr or grad_clip, or look for extreme values in the data"
                )));
            }
        }
        match numbers[..] {
            [valid_loss, _, train_loss, _, correct, 1.0] => {
                Ok(Report { valid_loss, train_loss, correct: correct as i64 })
            }
            _ => Err(Error::engine(format!("step {step} was undone, and its report does not tell why"))),
        }
    }
}
