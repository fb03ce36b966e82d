//! Events go to one Python object; signals are looked at between batches.

use numpy::IntoPyArray;
use numpy::ndarray::Array2;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};
use tch::Kind;

use crate::error::Result;
use crate::event::{Event, Observer};
use crate::py::errors::from_python;

pub struct PyObserver {
    pub object: Py<PyAny>,
    /// Dtype in which α is shown.
    pub kind: Kind,
}

impl Observer for PyObserver {
    fn observe(&mut self, event: &Event) -> Result<()> {
        let (name, payload, alphas) = translate(event);
        Python::attach(|py| {
            let alphas = alphas.map(|alphas| tables(py, alphas, self.kind)).transpose()?;
            self.object.call_method1(py, "observe", (name, payload.to_string(), alphas)).map(drop)
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

fn translate<'a>(event: &Event<'a>) -> (&'static str, Value, Option<&'a Tables>) {
    match event {
        Event::Start { epochs, first_epoch, steps_per_epoch } => {
            let payload = json!({"epochs": epochs, "first_epoch": first_epoch, "steps_per_epoch": steps_per_epoch});
            ("start", payload, None)
        }
        Event::Tuning { site, done, total } => ("tuning", json!({"site": site, "done": done, "total": total}), None),
        Event::Step { record, alphas } => ("step", json!(record), Some(alphas)),
        Event::Epoch { record, genotype, alphas } => {
            ("epoch", json!({"record": record, "genotype": genotype}), Some(alphas))
        }
        Event::Checkpoint { path } => ("checkpoint", json!({"path": path}), None),
        Event::Warning { message } => ("warning", json!({"message": message}), None),
    }
}

fn tables<'py>(py: Python<'py>, alphas: &Tables, kind: Kind) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, table) in alphas {
        match kind {
            Kind::Double => dict.set_item(name, table.clone().into_pyarray(py))?,
            _ => dict.set_item(name, table.mapv(|a| a as f32).into_pyarray(py))?,
        }
    }
    Ok(dict)
}
