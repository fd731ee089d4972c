//! Parameter declarations: limits that fit the type and each other, defaults that keep them.

use super::Check;
use crate::definition::{Definition, Param, ParamType};
use crate::limits;
use crate::params::{check_value, type_name};

impl Check<'_> {
    pub(super) fn params(&mut self, definition: &Definition) {
        self.names(definition.params.keys(), "a parameter");
        for (name, param) in &definition.params {
            self.at(name, |check| check.param(param));
        }
        let defaults = definition.params.values().filter_map(|param| param.default.as_ref());
        let size: usize = defaults.map(|value| value.to_string().len()).sum();
        if size > limits::PARAMS_BYTES {
            let message = format!("the defaults have {size} bytes; the limit is {}", limits::PARAMS_BYTES);
            self.report(message, "hand large data over as a file or URI");
        }
    }

    fn param(&mut self, param: &Param) {
        self.at("description", |check| check.description(&param.description));
        self.param_limits(param);
        self.at("enum", |check| check.allowed(param));
        if let Some(default) = &param.default {
            self.at("default", |check| {
                for (message, _) in check_value(param, default) {
                    check.report(
                        format!("the default breaks the parameter's own rules: {message}"),
                        "change one of the two",
                    );
                }
            });
        }
    }

    fn param_limits(&mut self, param: &Param) {
        let is_number = matches!(param.kind, ParamType::Integer | ParamType::Number);
        let has_length = matches!(param.kind, ParamType::String | ParamType::List);
        let given = [
            ("minimum", param.minimum.is_some(), is_number, "`integer` and `number`"),
            ("maximum", param.maximum.is_some(), is_number, "`integer` and `number`"),
            ("min_length", param.min_length.is_some(), has_length, "`string` and `list`"),
            ("max_length", param.max_length.is_some(), has_length, "`string` and `list`"),
        ];
        for (name, is_given, fits, types) in given {
            if is_given && !fits {
                let message = format!("`{name}` has no meaning for this type");
                self.at(name, |check| check.report(message, format!("remove it; it is for {types}")));
            }
        }
        for (name, limit) in [("minimum", param.minimum), ("maximum", param.maximum)] {
            if limit.is_some_and(|limit| !limit.is_finite()) {
                self.at(name, |check| {
                    check.report(format!("`{name}` is not a finite number"), "write a number")
                });
            }
        }
        if let (Some(least), Some(most)) = (param.minimum, param.maximum)
            && least > most
        {
            let message = format!("the minimum {least} is greater than the maximum {most}");
            self.at("minimum", |check| check.report(message, "change one of the two"));
        }
        if let (Some(least), Some(most)) = (param.min_length, param.max_length)
            && least > most
        {
            let message = format!("the least length {least} is greater than the greatest {most}");
            self.at("min_length", |check| check.report(message, "change one of the two"));
        }
    }

    fn allowed(&mut self, param: &Param) {
        let Some(allowed) = &param.allowed else { return };
        if allowed.is_empty() {
            self.report("`enum` allows no value at all", "list the allowed values, or remove it");
        }
        let plain = Param { allowed: None, default: None, ..param.clone() };
        for (index, value) in allowed.iter().enumerate() {
            self.at_index(index, |check| {
                for (message, _) in check_value(&plain, value) {
                    let remedy = format!("give {} within the limits", type_name(param.kind));
                    check.report(
                        format!("the allowed value breaks the parameter's own rules: {message}"),
                        remedy,
                    );
                }
            });
        }
    }
}
