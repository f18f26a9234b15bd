//! The `#[policy]` attribute; see `switchback_policy::policy`, where it is documented and meant to be used from.
//!
//! Turns one function into an implementation of `switchback_policy::Policy`. What the component exports is written in
//! `switchback_policy` itself, in its `__export!`: here is only what needs to look at the function's signature.

mod signature;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::{ItemFn, LitStr, Result};

use crate::signature::Signature;

/// Makes a function this crate's policy.
///
/// The function takes the request and, if it has one, its configuration, and returns anything that turns into a
/// `Decision`:
///
/// ```text
/// #[policy]
/// fn decide(request: &Request, config: &Config) -> Decision { ... }
///
/// #[policy(description = "Sends everything to blue.")]
/// fn decide(request: &Request) -> Pool { ... }
/// ```
///
/// The configuration may be any type that implements `serde::de::DeserializeOwned`; it is read from JSON, once per
/// instance. A function without one refuses every configuration but the empty one. The description is what people
/// read about the policy; without one it is the crate's own, `package.description` in its `Cargo.toml`.
///
/// Beside the function stands a type of the same name, which tests use: `test::configure::<decide>(...)`. One crate is
/// one policy: a second `#[policy]` exports the same names again and does not link.
#[proc_macro_attribute]
pub fn policy(attributes: proc_macro::TokenStream, function: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(attributes.into(), function.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}

fn expand(attributes: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let description = description(attributes)?;
    let function: ItemFn = syn::parse2(function)?;
    let signature = Signature::check(&function)?;

    let ItemFn { vis, sig, .. } = &function;
    let name = &sig.ident;
    let config = signature.config.map_or_else(|| quote!(::switchback_policy::NoConfig), |config| quote!(#config));
    let call = match signature.config {
        Some(_) => quote!(#name(request, config)),
        None => quote!(#name(request)),
    };

    Ok(quote! {
        #function

        #[doc = "The policy, for `switchback_policy::test::configure`."]
        #[allow(dead_code, non_camel_case_types, reason = "named after the function, and only tests name it")]
        #vis struct #name {}

        impl ::switchback_policy::Policy for #name {
            type Config = #config;
            const DESCRIPTION: &'static str = #description;

            #[allow(unused_variables, reason = "a policy may have no configuration")]
            fn decide(
                request: &::switchback_policy::Request<'_>,
                config: &Self::Config,
            ) -> ::switchback_policy::Decision {
                ::core::convert::Into::into(#call)
            }
        }

        ::switchback_policy::__export!(#name);
    })
}

/// The text in `description = "..."`, or else an expression for the crate's own description.
fn description(attributes: TokenStream) -> Result<TokenStream> {
    let mut description = quote!(::core::env!("CARGO_PKG_DESCRIPTION"));
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("description") {
            return Err(meta.error("expected `description = \"...\"`"));
        }
        let text: LitStr = meta.value()?.parse()?;
        description = quote!(#text);
        Ok(())
    });
    parser.parse2(attributes)?;
    Ok(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_stays_and_a_policy_of_its_name_stands_beside_it() {
        let code = expanded("", "fn decide(request: &Request, config: &Config) -> Pool { config.pool }");
        assert!(
            code.contains("fn decide (request : & Request , config : & Config) -> Pool { config . pool }"),
            "{code}"
        );
        assert!(code.contains("impl :: switchback_policy :: Policy for decide"), "{code}");
        assert!(code.contains("type Config = Config ;"), "{code}");
    }

    #[test]
    fn the_description_is_the_crate_s_own_unless_given() {
        let function = "fn decide(request: &Request) -> Pool { Pool::named(\"blue\") }";
        assert!(expanded("", function).contains("env ! (\"CARGO_PKG_DESCRIPTION\")"));
        assert!(expanded("description = \"all to blue\"", function).contains("= \"all to blue\" ;"));
    }

    #[test]
    fn an_unknown_attribute_is_refused() {
        let error = expand("name = \"x\"".parse().unwrap(), TokenStream::new()).unwrap_err();
        assert_eq!(error.to_string(), "expected `description = \"...\"`");
    }

    fn expanded(attributes: &str, function: &str) -> String {
        expand(attributes.parse().unwrap(), function.parse().unwrap()).unwrap().to_string()
    }
}
