//! Recording a step once and replaying it: on a GPU a step is thousands of small kernels, and launching them one by one
//! takes longer than running them.
//!
//! A recording is bound to addresses. So the batches are copied into buffers, one pair for each pair of shapes, and
//! everything else that a step touches stays where it is.

use std::collections::HashMap;

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

    /// Gives back the memory of recordings that are gone.
    fn release(&self) {}
}

/// A recorded step.
pub trait Replay {
    /// Runs it on what its tensors hold now.
    fn replay(&mut self) -> Result<()>;
}

/// Steps of each shape that run as they are before one is recorded: libraries set themselves up and choose kernels, and
/// shapes that come once or twice, such as the ends of texts, take nobody's place.
const WARM_UP: usize = 2;

/// Pairs of shapes that are recorded; each costs memory. More of them run as they are.
const MOST: usize = 4;

/// The steps that were recorded, by shapes.
pub struct Captures<'a> {
    /// None once it has failed.
    recorder: Option<&'a dyn Recorder>,
    /// Steps of each shape so far, up to the warm-up.
    seen: HashMap<Shapes, usize>,
    made: Vec<Capture<'a>>,
    warning: Option<String>,
}

/// Inputs and targets of the training batch, and of the validation batch if there is one.
type Shapes = Vec<Vec<i64>>;

fn shapes(train: &Batch, valid: Option<&Batch>) -> Shapes {
    [train].into_iter().chain(valid).flat_map(|batch| [batch.inputs.size(), batch.targets.size()]).collect()
}

/// Steps on batches of two shapes.
struct Capture<'a> {
    train: Batch,
    valid: Option<Batch>,
    recorded: Option<Recorded<'a>>,
}

struct Recorded<'a> {
    replay: Box<dyn Replay + 'a>,
    addresses: Vec<usize>,
}

impl<'a> Captures<'a> {
    pub fn new(recorder: &'a dyn Recorder) -> Self {
        Captures { recorder: Some(recorder), seen: HashMap::new(), made: Vec::new(), warning: None }
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
            // A step that failed has undone itself.
            Err(error) if error.kind == ErrorKind::OutOfMemory && self.holds_memory() => {
                self.give_up("the memory of what was captured is needed");
                body(train, valid)()
            }
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
        let shapes = shapes(train, valid);
        let seen = self.seen.entry(shapes.clone()).or_default();
        if *seen < WARM_UP {
            *seen += 1;
            recorder.warm_up(&mut body(train, valid))?;
            return Ok(true);
        }
        let Some(capture) = self.capture(&shapes, train, valid)? else { return Ok(false) };
        let of_buffers = || body(&capture.train, capture.valid.as_ref());
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

    /// Whether a recording keeps the memory of a step, which steps that run as they are cannot use.
    fn holds_memory(&self) -> bool {
        self.made.iter().any(|capture| capture.recorded.is_some())
    }

    /// From now on every step runs as it is.
    fn give_up(&mut self, why: &str) -> bool {
        self.warning = Some(format!(
            "the search step was not captured as a graph and runs operation by operation, which is slower; the result \
             is the same ({why}). graph=\"off\" silences this"
        ));
        self.made.clear();
        if let Some(recorder) = self.recorder.take() {
            recorder.release();
        }
        false
    }

    /// The buffers for batches of these shapes, filled with them; none where there are too many.
    fn capture(&mut self, of: &Shapes, train: &Batch, valid: Option<&Batch>) -> Result<Option<&mut Capture<'a>>> {
        let fits = |made: &Capture| shapes(&made.train, made.valid.as_ref()) == *of;
        let place = match self.made.iter().position(fits) {
            Some(place) => place,
            None if self.made.len() == MOST => return Ok(None),
            None => {
                let valid = valid.map(Batch::buffer).transpose()?;
                self.made.push(Capture { train: train.buffer()?, valid, recorded: None });
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
