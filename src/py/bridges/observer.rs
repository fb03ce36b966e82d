//! Forwards events to one Python object, and checks for signals between batches.

use numpy::ndarray::Array2;
use pyo3::prelude::*;
use serde_json::{Value, json};
use tch::Kind;

use crate::error::Result;
use crate::event::{Event, EventKind, Observer};
use crate::py::errors::from_python;
use crate::py::json::{Lists, python};
use crate::py::tensor::arrays;

pub struct PyObserver {
    object: Py<PyAny>,
    /// The kinds of events that the object wants.
    wanted: Vec<EventKind>,
    /// Dtype of α in events.
    dtype: Kind,
}

impl PyObserver {
    pub fn new(py: Python<'_>, object: Py<PyAny>, dtype: Kind) -> PyResult<Self> {
        let wanted = wanted(py, &object)?;
        Ok(PyObserver { object, wanted, dtype })
    }
}

/// The kinds of events that the object wants, so that unwanted ones need no call into Python.
fn wanted(py: Python<'_>, object: &Py<PyAny>) -> PyResult<Vec<EventKind>> {
    let mut wanted = Vec::new();
    for kind in EventKind::ALL {
        if object.call_method1(py, "wants", (kind.name(),))?.extract(py)? {
            wanted.push(kind);
        }
    }
    Ok(wanted)
}

impl Observer for PyObserver {
    fn wants(&self, kind: EventKind) -> bool {
        self.wanted.contains(&kind)
    }

    fn observe(&mut self, event: &Event) -> Result<()> {
        let (payload, alphas) = translate(event);
        Python::attach(|py| {
            let alphas = alphas.map(|alphas| arrays(py, alphas, self.dtype)).transpose()?;
            let payload = python(py, &payload, Lists::Lists)?;
            self.object.call_method1(py, "observe", (event.kind().name(), payload, alphas))?;
            // A callback may have assigned a hook, such as `self.on_step` in `on_start`.
            self.wanted = wanted(py, &self.object)?;
            Ok(())
        })
        .map_err(from_python)
    }

    fn poll(&mut self) -> Result<()> {
        Python::attach(|py| {
            py.check_signals()?;
            self.object.call_method0(py, "poll").map(drop)
        })
        .map_err(from_python)
    }
}

type Tables = [(String, Array2<f64>)];

/// The fields of an event as JSON, and its α.
fn translate<'a>(event: &Event<'a>) -> (Value, Option<&'a Tables>) {
    match event {
        Event::Start { epochs, first_epoch, steps_per_epoch } => {
            let payload = json!({"epochs": epochs, "first_epoch": first_epoch, "steps_per_epoch": steps_per_epoch});
            (payload, None)
        }
        Event::Step { record, alphas } => (json!(record), Some(alphas)),
        Event::Epoch { record, genotype, alphas } => (json!({"record": record, "genotype": genotype}), Some(alphas)),
        Event::Checkpoint { path } => (json!({"path": path}), None),
        Event::Warning { message } => (json!({"message": message}), None),
    }
}
