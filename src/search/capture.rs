//! Recording a step once and replaying it: on a GPU a step is thousands of small kernels, and launching them one by one
//! takes longer than running them.
//!
//! A recording is bound to addresses. So the batches are copied into buffers, one pair for each pair of shapes, and
//! everything else that a step touches stays where it is.

use tch::Tensor;

use crate::data::Batch;
use crate::error::{ErrorKind, Result};

/// One step on tensors that it holds on to: it can be run any number of times.
pub type Body<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// Records steps. libtorch keeps its CUDA graphs out of tch's reach, so the binding brings one.
pub trait Recorder {
    /// Runs a step that will be recorded later, where it can do no harm that what it calls is set up at first use.
    fn warm_up(&self, body: &mut Body) -> Result<()> {
        body()
    }

    /// Records a step without running it.
    fn record<'a>(&self, body: Body<'a>) -> Result<Box<dyn Replay + 'a>>;
}

/// A recorded step.
pub trait Replay {
    /// Runs it on what its tensors hold now.
    fn replay(&mut self) -> Result<()>;
}

/// Steps of each shape that run as they are before one is recorded: libraries set themselves up and choose kernels.
const WARM_UP: usize = 2;

/// Pairs of shapes that are recorded; each costs memory. More of them run as they are.
const MOST: usize = 4;

/// The steps that were recorded, by shapes.
pub(super) struct Captures<'a> {
    /// None once it has failed.
    recorder: Option<&'a dyn Recorder>,
    made: Vec<Capture<'a>>,
    warning: Option<String>,
}

/// Steps on batches of two shapes.
struct Capture<'a> {
    train: Batch,
    valid: Option<Batch>,
    warmed_up: usize,
    recorded: Option<Recorded<'a>>,
}

struct Recorded<'a> {
    replay: Box<dyn Replay + 'a>,
    addresses: Vec<usize>,
}

impl<'a> Captures<'a> {
    pub fn new(recorder: &'a dyn Recorder) -> Self {
        Captures { recorder: Some(recorder), made: Vec::new(), warning: None }
    }

    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// Runs the step that `body` makes of two batches, or replays it. `fixed`: all else that it touches.
    pub fn run(
        &mut self,
        body: &dyn Fn(&Batch, Option<&Batch>) -> Body<'a>,
        fixed: &[&Tensor],
        train: &Batch,
        valid: Option<&Batch>,
    ) -> Result<()> {
        match self.try_run(body, fixed, train, valid) {
            Ok(true) => Ok(()),
            Ok(false) => body(train, valid)(),
            Err(error) => Err(error),
        }
    }

    /// Whether the step has been run.
    fn try_run(
        &mut self,
        body: &dyn Fn(&Batch, Option<&Batch>) -> Body<'a>,
        fixed: &[&Tensor],
        train: &Batch,
        valid: Option<&Batch>,
    ) -> Result<bool> {
        let Some(recorder) = self.recorder else { return Ok(false) };
        let Some(capture) = self.capture(train, valid)? else { return Ok(false) };
        let of_buffers = || body(&capture.train, capture.valid.as_ref());
        if capture.warmed_up < WARM_UP {
            capture.warmed_up += 1;
            recorder.warm_up(&mut body(&capture.train, capture.valid.as_ref()))?;
            return Ok(true);
        }
        let addresses: Vec<usize> = fixed.iter().map(|tensor| tensor.data_ptr() as usize).collect();
        let recorded = match &mut capture.recorded {
            Some(recorded) if recorded.addresses == addresses => recorded,
            Some(_) => return Ok(self.give_up("a tensor of the search is not where it was")),
            None => match recorder.record(of_buffers()) {
                Ok(replay) => capture.recorded.insert(Recorded { replay, addresses }),
                Err(error) if error.kind == ErrorKind::Interrupted => return Err(error),
                Err(error) => return Ok(self.give_up(&error.detail)),
            },
        };
        recorded.replay.replay()?;
        Ok(true)
    }

    /// From now on every step runs as it is.
    fn give_up(&mut self, why: &str) -> bool {
        self.warning = Some(format!(
            "the search step was not captured as a graph and runs operation by operation, which is slower; the result \
             is the same ({why}). graph=\"off\" silences this"
        ));
        self.recorder = None;
        self.made.clear();
        false
    }

    /// The buffers for batches of these shapes, filled with them; none where there are too many.
    fn capture(&mut self, train: &Batch, valid: Option<&Batch>) -> Result<Option<&mut Capture<'a>>> {
        let fits = |made: &Capture| {
            made.train.alike(train)
                && match (&made.valid, valid) {
                    (Some(buffer), Some(valid)) => buffer.alike(valid),
                    (None, None) => true,
                    _ => false,
                }
        };
        let place = match self.made.iter().position(fits) {
            Some(place) => place,
            None if self.made.len() == MOST => return Ok(None),
            None => {
                let valid = valid.map(Batch::buffer).transpose()?;
                self.made.push(Capture { train: train.buffer()?, valid, warmed_up: 0, recorded: None });
                self.made.len() - 1
            }
        };
        let capture = &mut self.made[place];
        capture.train.fill(train)?;
        if let (Some(buffer), Some(valid)) = (&mut capture.valid, valid) {
            buffer.fill(valid)?;
        }
        Ok(Some(capture))
    }
}
