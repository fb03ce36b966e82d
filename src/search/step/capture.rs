//! Captures a step as a graph and replays it: on a GPU a step is thousands of small kernels, and launching them one by
//! one takes longer than running them.
//!
//! A graph is bound to addresses. Batches are therefore copied to buffers, one pair for each pair of shapes, and all
//! other tensors of a step keep their addresses.

use std::collections::HashMap;

use tch::Tensor;

use crate::data::Batch;
use crate::error::{ErrorKind, Result};

/// One step on tensors that it owns; it can be run any number of times.
pub type Body<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// Captures steps as graphs. tch does not bind libtorch's CUDA graphs, so the Python binding implements this.
pub trait GraphCapture {
    /// Runs a step that will be captured later, so that libraries initialise themselves outside the capture.
    fn warm_up(&self, body: &mut Body) -> Result<()> {
        body()
    }

    /// Captures a step without running it.
    fn capture<'a>(&self, body: Body<'a>) -> Result<Box<dyn Replay + 'a>>;

    /// Frees the memory of dropped graphs.
    fn release(&self) {}
}

/// A captured step.
pub trait Replay {
    /// Runs the step on the current contents of its tensors.
    fn replay(&mut self) -> Result<()>;
}

/// The number of steps of each shape that run before one is captured: libraries initialise themselves and choose
/// kernels, and rare shapes, such as the ends of texts, are not captured.
const WARM_UP: usize = 2;

/// The largest number of pairs of shapes that are captured, since each needs memory.
const MAX_CAPTURES: usize = 4;

/// The captured steps, by shapes.
pub struct Captures<'a> {
    /// None after a failure.
    graphs: Option<&'a dyn GraphCapture>,
    /// The number of steps of each shape, up to the warm-up.
    seen: HashMap<Shapes, usize>,
    captures: Vec<ShapedStep<'a>>,
    warning: Option<String>,
}

/// Inputs and targets of the training batch, and of the validation batch if there is one.
type Shapes = Vec<Vec<i64>>;

fn shapes(train: &Batch, valid: Option<&Batch>) -> Shapes {
    [train].into_iter().chain(valid).flat_map(|batch| [batch.inputs.size(), batch.targets.size()]).collect()
}

/// The step on batches of one pair of shapes.
struct ShapedStep<'a> {
    train: Batch,
    valid: Option<Batch>,
    captured: Option<Captured<'a>>,
}

struct Captured<'a> {
    replay: Box<dyn Replay + 'a>,
    addresses: Vec<usize>,
}

impl<'a> Captures<'a> {
    /// `uncapturable`: why no step can be captured, if so.
    pub fn new(graphs: &'a dyn GraphCapture, uncapturable: Option<&str>) -> Self {
        let mut captures = Captures { graphs: Some(graphs), seen: HashMap::new(), captures: Vec::new(), warning: None };
        if let Some(why) = uncapturable {
            captures.give_up(why);
        }
        captures
    }

    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// Runs the step that `body` makes of two batches, or replays it. `fixed`: all other tensors of the step.
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
            // A failed step has been rolled back.
            Err(error) if error.kind == ErrorKind::OutOfMemory && self.holds_memory() => {
                self.give_up("the memory of the captured graphs is needed");
                body(train, valid)()
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the step if it can be captured or warmed up; returns whether it did.
    fn try_run(
        &mut self,
        body: &dyn Fn(&Batch, Option<&Batch>) -> Body<'a>,
        fixed: &[&Tensor],
        train: &Batch,
        valid: Option<&Batch>,
    ) -> Result<bool> {
        let Some(graphs) = self.graphs else { return Ok(false) };
        let shapes = shapes(train, valid);
        let seen = self.seen.entry(shapes.clone()).or_default();
        if *seen < WARM_UP {
            *seen += 1;
            graphs.warm_up(&mut body(train, valid))?;
            return Ok(true);
        }
        let Some(step) = self.shaped_step(&shapes, train, valid)? else { return Ok(false) };
        let buffered = || body(&step.train, step.valid.as_ref());
        let addresses: Vec<usize> = fixed.iter().map(|tensor| tensor.data_ptr() as usize).collect();
        let captured = match &mut step.captured {
            Some(captured) if captured.addresses == addresses => captured,
            Some(_) => return Ok(self.give_up("a tensor of the search has moved")),
            None => match graphs.capture(buffered()) {
                Ok(replay) => step.captured.insert(Captured { replay, addresses }),
                Err(error) if error.kind == ErrorKind::Interrupted => return Err(error),
                Err(error) => return Ok(self.give_up(&error.detail)),
            },
        };
        captured.replay.replay()?;
        Ok(true)
    }

    /// Whether a graph owns memory that steps outside it cannot use.
    fn holds_memory(&self) -> bool {
        self.captures.iter().any(|step| step.captured.is_some())
    }

    /// Stops capturing.
    fn give_up(&mut self, why: &str) -> bool {
        self.warning = Some(format!(
            "the search step was not captured as a graph ({why}); it runs operation by operation, which is slower but gives \
             the same result. Pass graph=\"off\" to silence this warning"
        ));
        self.captures.clear();
        if let Some(graphs) = self.graphs.take() {
            graphs.release();
        }
        false
    }

    /// The step for batches of these shapes, its buffers filled with them; None if there are too many shapes.
    fn shaped_step(
        &mut self,
        key: &Shapes,
        train: &Batch,
        valid: Option<&Batch>,
    ) -> Result<Option<&mut ShapedStep<'a>>> {
        let fits = |step: &ShapedStep| shapes(&step.train, step.valid.as_ref()) == *key;
        let index = match self.captures.iter().position(fits) {
            Some(index) => index,
            None if self.captures.len() == MAX_CAPTURES => return Ok(None),
            None => {
                let valid = valid.map(Batch::buffer).transpose()?;
                self.captures.push(ShapedStep { train: train.buffer()?, valid, captured: None });
                self.captures.len() - 1
            }
        };
        let step = &mut self.captures[index];
        step.train.fill(train)?;
        if let (Some(buffer), Some(valid)) = (&mut step.valid, valid) {
            buffer.fill(valid)?;
        }
        Ok(Some(step))
    }
}
