//! Is this function a policy?
//!
//! Says what is wrong in the words of the person who wrote the function, and points at the place: otherwise the
//! compiler would complain about code that nobody can see.

use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Type};

const SHAPE: &str = "a policy is `fn decide(request: &Request) -> Decision` \
                     or `fn decide(request: &Request, config: &Config) -> Decision`";

/// What the expansion needs to know of a function that can be a policy.
pub(crate) struct Signature<'a> {
    /// The type of the configuration, if the function takes one.
    pub(crate) config: Option<&'a Type>,
}

impl<'a> Signature<'a> {
    pub(crate) fn check(function: &'a ItemFn) -> Result<Self> {
        let signature = &function.sig;
        if let Some(asyncness) = &signature.asyncness {
            return Err(refusal(asyncness, "a decision is made at once: it cannot be `async`"));
        }
        if let Some(unsafety) = &signature.unsafety {
            return Err(refusal(unsafety, "it cannot be `unsafe`"));
        }
        if !signature.generics.params.is_empty() {
            return Err(refusal(&signature.generics, "it cannot be generic"));
        }
        if matches!(signature.output, ReturnType::Default) {
            return Err(refusal(&signature.ident, "it must return a decision"));
        }

        let mut arguments = signature.inputs.iter();
        let Some(request) = arguments.next() else {
            return Err(refusal(&signature.ident, "it must take the request"));
        };
        borrowed(request)?;
        let config = arguments.next().map(borrowed).transpose()?;
        if let Some(third) = arguments.next() {
            return Err(refusal(third, "it takes no more than the request and its configuration"));
        }
        Ok(Self { config })
    }
}

/// The type behind the `&` of an argument.
fn borrowed(argument: &FnArg) -> Result<&Type> {
    let FnArg::Typed(argument) = argument else {
        return Err(refusal(argument, "it is a free function, without `self`"));
    };
    match &*argument.ty {
        Type::Reference(reference) if reference.mutability.is_none() => Ok(&reference.elem),
        other => Err(refusal(other, "it takes its arguments by shared reference")),
    }
}

fn refusal(place: &impl Spanned, what: &str) -> Error {
    Error::new(place.span(), format!("{what}; {SHAPE}"))
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    #[test]
    fn with_and_without_a_configuration() {
        let plain: ItemFn = syn::parse_quote!(
            fn choose(request: &Request) -> Pool {}
        );
        assert!(Signature::check(&plain).unwrap().config.is_none());

        let configured: ItemFn = syn::parse_quote!(
            fn choose(_: &Request, config: &rules::Config) -> Decision {}
        );
        let config = Signature::check(&configured).unwrap().config;
        assert_eq!(config.to_token_stream().to_string(), "rules :: Config");
    }

    #[test]
    fn every_other_shape_is_refused_by_name() {
        check_refused("async fn decide(r: &Request) -> Decision {}", "cannot be `async`");
        check_refused("unsafe fn decide(r: &Request) -> Decision {}", "cannot be `unsafe`");
        check_refused("fn decide<T>(r: &Request, c: &T) -> Decision {}", "cannot be generic");
        check_refused("fn decide(r: &Request) {}", "must return a decision");
        check_refused("fn decide() -> Decision {}", "must take the request");
        check_refused("fn decide(&self) -> Decision {}", "without `self`");
        check_refused("fn decide(r: Request) -> Decision {}", "by shared reference");
        check_refused("fn decide(r: &Request, c: &mut Config) -> Decision {}", "by shared reference");
        check_refused("fn decide(r: &Request, c: &Config, d: &More) -> Decision {}", "no more than");
    }

    fn check_refused(function: &str, expect: &str) {
        let function: ItemFn = syn::parse_str(function).unwrap();
        let message = Signature::check(&function).err().unwrap().to_string();
        assert!(message.contains(expect) && message.ends_with(SHAPE), "{message}");
    }
}
