//! Forwards events to one Python object, and checks for signals between batches.

use std::collections::BTreeMap;

use numpy::ndarray::Array2;
use pyo3::prelude::*;
use serde_json::{Value, json};
use tch::Kind;

use crate::arch::{Genotype, LogitTable};
use crate::error::Result;
use crate::event::{Event, EventKind, Observer};
use crate::py::errors::from_python;
use crate::py::json::{Lists, python};
use crate::py::tensor::arrays;
use crate::space::Space;

pub struct PyObserver {
    object: Py<PyAny>,
    /// The space that architectures are genotypes of, if there is one.
    space: Option<Space>,
    /// The tables that architectures pick from.
    tables: Vec<LogitTable>,
    /// The kinds of events that the object wants.
    wanted: Vec<EventKind>,
    /// Dtype of α in events.
    dtype: Kind,
}

impl PyObserver {
    pub fn new(
        py: Python<'_>,
        object: Py<PyAny>,
        (space, tables): (Option<Space>, Vec<LogitTable>),
        dtype: Kind,
    ) -> PyResult<Self> {
        let wanted = wanted(py, &object)?;
        Ok(PyObserver { object, space, tables, wanted, dtype })
    }

    /// The fields of an event as JSON, its α and its strengths.
    fn translate<'a>(&self, event: &Event<'a>) -> Result<(Value, Option<(&'a Tables, &'a Tables)>)> {
        Ok(match event {
            Event::Start { epochs, first_epoch, steps_per_epoch } => {
                let payload = json!({"epochs": epochs, "first_epoch": first_epoch, "steps_per_epoch": steps_per_epoch});
                (payload, None)
            }
            Event::Step { record, alphas, strengths } => (json!(record), Some((alphas, strengths))),
            Event::Epoch { record, architecture, alphas, strengths, decisions } => {
                let genotype =
                    self.space.as_ref().map(|space| Genotype::of_architecture(space, architecture)).transpose()?;
                let names: BTreeMap<_, _> = architecture.names(&self.tables).into_iter().collect();
                let payload =
                    json!({"record": record, "genotype": genotype, "architecture": names, "decisions": decisions});
                (payload, Some((alphas, strengths)))
            }
            Event::Checkpoint { path } => (json!({"path": path}), None),
            Event::Warning { message } => (json!({"message": message}), None),
        })
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
        let (payload, tables) = self.translate(event)?;
        Python::attach(|py| {
            let (alphas, strengths) = tables.unzip();
            let alphas = alphas.map(|alphas| arrays(py, alphas, self.dtype)).transpose()?;
            let strengths = strengths.map(|strengths| arrays(py, strengths, Kind::Double)).transpose()?;
            let payload = python(py, &payload, Lists::Lists)?;
            self.object.call_method1(py, "observe", (event.kind().name(), payload, alphas, strengths))?;
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
