//! The engine's sources: Python loaders, device-resident arrays and texts.

use std::sync::Arc;

use pyo3::prelude::*;
use tch::{Kind, Tensor};

use crate::config::{Augment, SearchConfig};
use crate::data::{ArraySource, Augmentation, Batch, Expected, Layout, Source, check_labels};
use crate::error::{Error, Result};
use crate::py::data::{PyArrays, PyTokens};
use crate::py::entry;
use crate::py::errors::{from_python, to_python};
use crate::py::tensor::PyTensor;
use crate::ranks::Share;

/// A Python loader with `batches`, `start`, `next` and `close`. Its own thread checks the batches (`BatchChecker`);
/// here they are only moved to the device.
struct PySource {
    object: Py<PyAny>,
    expected: Expected,
    batches: Option<usize>,
}

impl PySource {
    fn new(object: &Bound<'_, PyAny>, expected: Expected) -> PyResult<Self> {
        let batches = object.call_method0("batches")?.extract()?;
        Ok(PySource { object: object.clone().unbind(), expected, batches })
    }
}

impl Source for PySource {
    fn batches(&self) -> Option<usize> {
        self.batches
    }

    fn start(&mut self, index: u64, skip: usize) -> Result<()> {
        let started = Python::attach(|py| self.object.call_method1(py, "start", (index, skip)).map(drop));
        started.map_err(from_python)
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        if let Expected::Tensors { .. } = self.expected {
            let batch = Python::attach(|py| -> PyResult<Option<(Vec<PyTensor>, Py<PyAny>)>> {
                self.object.bind(py).call_method0("next")?.extract()
            });
            let gathered = |(tensors, layout): (Vec<PyTensor>, Py<PyAny>)| {
                let tensors: Vec<Tensor> = tensors.into_iter().map(|tensor| tensor.0).collect();
                self.expected.gather(&tensors, Layout(Arc::new(layout)))
            };
            return batch.map_err(from_python)?.map(gathered).transpose();
        }
        let pair = Python::attach(|py| -> PyResult<Option<(Tensor, Tensor)>> {
            let pair: Option<(PyTensor, PyTensor)> = self.object.bind(py).call_method0("next")?.extract()?;
            Ok(pair.map(|(x, y)| (x.0, y.0)))
        });
        pair.map_err(from_python)?.map(|(x, y)| self.expected.place(&x, &y)).transpose()
    }
}

impl Drop for PySource {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Err(error) = self.object.call_method0(py, "close") {
                error.write_unraisable(py, Some(self.object.bind(py)));
            }
        });
    }
}

/// The source for a Python object: `Tokens` and `Arrays`, of which it yields a share, or any object with the methods of
/// `Source`.
pub fn source(
    object: &Bound<'_, PyAny>,
    config: &SearchConfig,
    expected: &Expected,
    share: Share,
    what: &'static str,
) -> PyResult<Box<dyn Source + Send>> {
    let (shape, classes, kind, device) = match (expected, object.cast::<PyTokens>()) {
        (Expected::Words { words, bptt, device }, Ok(tokens)) => {
            let seed = config.optimisation.seed;
            let tokens = tokens.get();
            let build = || tokens.source((*words, *bptt), seed, share, *device, &format!("the {what} text"));
            return Ok(Box::new(entry::engine(object.py(), build)?));
        }
        (Expected::Images { shape, classes, kind, device }, Err(_)) => (shape, *classes, *kind, *device),
        (Expected::Tensors { .. }, Err(_)) => return Ok(Box::new(PySource::new(object, expected.clone())?)),
        _ => return Err(to_python(Error::data("a recurrent space requires texts, and a convolutional space images"))),
    };
    let Ok(arrays) = object.cast::<PyArrays>() else {
        return Ok(Box::new(PySource::new(object, expected.clone())?));
    };
    let arrays = arrays.get();
    let build = || -> Result<ArraySource> {
        let augmentation =
            Augmentation { crop_and_flip: config.data.augment == Augment::Cifar, cutout: config.data.cutout };
        // Before the upload, which may not fit.
        let found = arrays.image_shape()?;
        if found != *shape {
            return Err(Error::data(format!(
                "{what} images have shape {found:?}; expected {shape:?} (channels first)"
            )));
        }
        let source = arrays.source(augmentation, config.optimisation.seed, share, (kind, device))?;
        let targets = source.targets();
        if targets.f_kind()? == Kind::Int64 && targets.dim() == 1 {
            check_labels(targets, classes, &format!("{what} data"))?;
        }
        Ok(source)
    };
    Ok(Box::new(entry::engine(object.py(), build)?))
}
