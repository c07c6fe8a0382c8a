"""What is asked before there is a job: the optimizers, the settings, what it would cost, which to take."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from skill_fleet.api import examples
from skill_fleet.api.answers import answer
from skill_fleet.api.dependencies import CallerDep, ServiceDep
from skill_fleet.api.job_schemas import Configuration, Estimate, Optimizers, Recommendation
from skill_fleet.api.large_bodies import LargeBodyRoute, dumped
from skill_fleet.api.problems import errors
from skill_fleet.services import jobs
from skill_fleet.services.configuration import configuration_view
from skill_fleet.services.job_requests import OptimizationBody

router = APIRouter(prefix="/optimization", tags=["optimization"], route_class=LargeBodyRoute)

StartBody = Annotated[OptimizationBody, Body(openapi_examples=examples.START_EXAMPLES)]


@router.get(
    "/optimizers",
    operation_id="list_optimizers",
    summary="Every optimizer, with its parameters",
    response_model=Optimizers,
    responses=errors(),
)
async def optimizers(service: ServiceDep) -> Response:
    """What each changes, needs and costs, and what it can be told: type, default, range."""
    return answer(await jobs.optimizers(service))


@router.get(
    "/config",
    operation_id="read_configuration",
    summary="The configuration in force",
    response_model=Configuration,
    responses=errors(),
)
async def configuration(service: ServiceDep, caller: CallerDep) -> Response:
    """As `config.yaml` has it, without secrets, and where each value comes from."""
    return answer(configuration_view(service.context, caller.key))


@router.post(
    "/estimate",
    operation_id="estimate_optimization",
    summary="What an optimization would take",
    response_model=Estimate,
    responses=errors(404, 409),
)
async def estimate(body: StartBody, request: Request, service: ServiceDep) -> Response:
    """Calls, tokens, dollars and minutes as intervals. Nothing is spent."""
    return answer(await jobs.estimate(service, await dumped(request, body)))


@router.post(
    "/recommend",
    operation_id="recommend_optimizer",
    summary="Which optimizer for this request",
    response_model=Recommendation,
    responses=errors(404, 409),
)
async def recommend(body: StartBody, request: Request, service: ServiceDep) -> Response:
    """The optimizer for these data and caps, the rule that decided, and the price of the others."""
    return answer(await jobs.recommend(service, await dumped(request, body)))
