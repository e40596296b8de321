//! The actions, one module for each kind. Each takes resolved inputs and gives an answer.

mod api;
mod automation;
mod command;
mod image;
mod instance;
mod lambda;
mod property;
mod script;
mod signal;
mod sleep;
mod stack;
mod state_machine;
mod tags;
mod variable;
mod webhook;

pub(crate) use sleep::duration;

use crate::{
    ActionName, StepError,
    engine::{Answer, Context, Inputs},
};

/// Carries out one action, once.
pub(crate) async fn run(
    context: &Context<'_>,
    name: ActionName,
    inputs: &Inputs,
) -> Result<Answer, StepError> {
    match name {
        ActionName::Approve => signal::approve(context, inputs).await,
        ActionName::AssertProperty => property::assert(context, inputs).await,
        ActionName::ChangeInstanceState => instance::change_state(context, inputs).await,
        ActionName::CopyImage => image::copy(context, inputs).await,
        ActionName::CreateImage => image::create(context, inputs).await,
        ActionName::CreateStack => stack::create(context, inputs).await,
        ActionName::CreateTags => tags::create(context, inputs).await,
        ActionName::DeleteImage => image::delete(context, inputs).await,
        ActionName::DeleteStack => stack::delete(context, inputs).await,
        ActionName::ExecuteAutomation => automation::execute(context, inputs).await,
        ActionName::ExecuteAwsApi => api::execute(context, inputs).await,
        ActionName::ExecuteScript => script::execute(context, inputs).await,
        ActionName::ExecuteStateMachine => state_machine::execute(context, inputs).await,
        ActionName::InvokeLambdaFunction => lambda::invoke(context, inputs).await,
        ActionName::InvokeWebhook => webhook::invoke(context, inputs).await,
        ActionName::Pause => signal::pause(context).await,
        ActionName::RunCommand => command::run(context, inputs).await,
        ActionName::RunInstances => instance::run(context, inputs).await,
        ActionName::Sleep => sleep::sleep(context, inputs).await,
        ActionName::UpdateVariable => variable::update(context, inputs),
        ActionName::WaitForProperty => property::wait(context, inputs).await,
        // The engine itself carries these out.
        ActionName::Branch | ActionName::Loop => Ok(Answer::default()),
    }
}
