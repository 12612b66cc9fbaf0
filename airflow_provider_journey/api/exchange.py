"""One request's whole conversation with the service, written once for both clients.

:meth:`Exchange.conversation` is a generator. It yields what is to be done (:class:`Send`, :class:`Wait`,
:class:`Join`) and is handed what came of it, so that tokens, pacing, retries and the reading of answers know
nothing of threads, event loops or HTTP libraries: a client only carries bytes and waits.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from airflow_provider_journey.api import answers, credentials, redirects
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.credentials import Token, TokenStore
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    JourneyError,
    RateLimitedError,
    UnsupportedOperationError,
)
from airflow_provider_journey.api.messages import Answer, Request
from airflow_provider_journey.api.pacing import Governor, Standing, read_standing
from airflow_provider_journey.api.retrying import MAX_WAIT, Tries
from airflow_provider_journey.api.settings import ConnectionSettings

# A merged contact points at the head of its merge; one merged meanwhile may point on.
_MOST_HOPS = 3
# When the token endpoint last failed, and how.
_NEVER: tuple[float, JourneyError | None] = (-math.inf, None)


class Send(NamedTuple):
    """Send these bytes and hand back the :class:`Answer`, or throw a ``ConnectionFailedError`` in.

    :param what: what errors call it.
    :param downloading: whether a 200's body goes to the caller's file instead of the answer.
    """

    what: object
    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    downloading: bool = False


class Wait(NamedTuple):
    """Let this many seconds pass."""

    seconds: float


class Join(NamedTuple):
    """Wait until somebody else's token request has ended; throw in what it raised."""

    future: Future[None]


class HaltedError(JourneyError):
    """A call was held back where it waited: for its place in the rate limit, for another try, for a token.

    ``tries`` is one more than were sent; ``maybe_processed`` is about those.
    """


Step: TypeAlias = Send | Wait | Join
Conversation: TypeAlias = Generator[Step, Any, Answer]


@dataclass
class Statistics:
    """What a client did since it was made.

    :param calls: requests sent to the API, every try counted; token requests are not among them.
    :param tokens: token requests sent.
    :param waited_s: seconds waited for the rate limit and between tries.
    :param errors: tries that failed, by HTTP status, or by the error's name where there was no answer.
    """

    calls: int = 0
    tokens: int = 0
    waited_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Statistics:
        """Return the figures as they stand now."""
        return dataclasses.replace(self, errors=self.errors.copy())


class Exchange:
    """What all conversations over one connection share: settings, token, governor, clock and figures.

    :param settings: the connection.
    :param clock: where every moment and every wait comes from.
    :param tokens: this process's tokens.
    :param governor: what paces this connection in this process.
    :param on_secret: called with each new token's value before anything else sees it, to mask it in logs.
    :param on_retry: called with the error, the number of the try and the seconds until the next one.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        clock: Clock,
        tokens: TokenStore,
        governor: Governor,
        on_secret: Callable[[str], None] | None = None,
        on_retry: Callable[[JourneyError, int, float], None] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.statistics = Statistics()
        self._tokens = tokens
        self._governor = governor
        self._on_secret = on_secret
        self._on_retry = on_retry
        self._key = settings.cache_key
        self._token_failure = _NEVER
        self._api_base = f"{settings.site.api_url}/api/v2"

    @property
    def standing(self) -> Standing | None:
        """What the rate limit leaves, as far as this process knows; see :meth:`Governor.standing`."""
        return self._governor.standing(self.clock.monotonic())

    @property
    def rate(self) -> float | None:
        """Calls per second that the rate limit allows, once it was told; see :meth:`Governor.rate`."""
        return self._governor.rate()

    def on(self, segments_api: str) -> Exchange:
        """Return an exchange over the other segments API, which shares everything else, figures too."""
        other = copy.copy(self)
        other.settings = dataclasses.replace(self.settings, segments_api=segments_api)
        return other

    def conversation(self, request: Request, *, downloading: bool = False) -> Conversation:
        """Talk until ``request`` is answered with a 2xx, which is returned, or cannot be.

        :raises UnsupportedOperationError: the connection's segments_api has no such operation.
        :raises JourneyError: whatever the last try came to.
        """
        self._check_served(request)
        tries: Tries | None = None
        seconds = 0.0
        while True:
            try:
                if tries is not None:
                    yield from self._wait(seconds)
                return (yield from self._try(request, downloading))
            except JourneyError as error:
                if not isinstance(error, HaltedError):
                    self._count_failure(error)
                tries = tries or Tries(resend=request.endpoint.resend, max_retries=self.settings.max_retries)
                seconds = tries.failed(error)
                if self._on_retry:
                    self._on_retry(error, tries.number, seconds)

    def single(self, request: Request, quiet: float) -> Conversation:
        """Send ``request`` once, and nothing in its place: for those who ask again and again anyway.

        No retry, no second try with a new token, no other address: a redirect is returned like a 2xx.

        :param quiet: seconds for which a failed token request is not repeated; its error is raised again.
        :raises AuthenticationError: ``transient`` where only this token was refused; it is forgotten.
        :raises JourneyError: whatever else it came to, as :meth:`conversation` would see a try.
        """
        self._check_served(request)
        try:
            self._check_token_endpoint(quiet)
            token = yield from self._token()
            answer = yield from self._send(request, token, downloading=False)
            if redirects.onward(answer, request) is None:
                self._check_once(answer, request, token)
        except JourneyError as error:
            self._count_failure(error)
            raise
        return answer

    def _check_served(self, request: Request) -> None:
        endpoint = request.endpoint
        if self.settings.segments_api not in endpoint.served_by:
            raise UnsupportedOperationError(
                f"{request} does not exist where connection {self.settings.conn_id!r} says segments_api="
                f"{self.settings.segments_api!r}; it is served under {' or '.join(endpoint.served_by)}."
            )

    def _check_token_endpoint(self, quiet: float) -> None:
        failed, error = self._token_failure
        if error is not None and self.clock.monotonic() < failed + quiet:
            raise copy.copy(error)

    def _check_once(self, answer: Answer, request: Request, token: Token) -> None:
        try:
            answers.check(answer, request, self.settings.conn_id, self.clock.time())
        except AuthenticationError as error:
            self._tokens.discard(self._key, token)
            error.transient = True  # as far as anybody knows: the next token may not be refused
            raise

    def _try(self, request: Request, downloading: bool) -> Conversation:
        answer = yield from self._ask(request, downloading)
        for _ in range(_MOST_HOPS):
            if (onward := redirects.onward(answer, request)) is None:
                break
            request = onward
            answer = yield from self._ask(request, downloading)
        answers.check(answer, request, self.settings.conn_id, self.clock.time())
        return answer

    def _ask(self, request: Request, downloading: bool) -> Conversation:
        token = self._tokens.usable(self._key, self.clock.monotonic()) or (yield from self._token())
        answer = yield from self._send(request, token, downloading)
        if answer.status == 401:
            # The token may have been revoked or its client's life shortened: once more with a new one.
            self._tokens.discard(self._key, token)
            token = yield from self._token()
            answer = yield from self._send(request, token, downloading)
        return answer

    def _send(self, request: Request, token: Token, downloading: bool) -> Conversation:
        if (delay := self._governor.claim(self.clock.monotonic())) > 0:
            yield from self._pace(request, delay)
        url = self._api_base + request.target
        headers = {"Authorization": f"Bearer {token.value}", "Accept": "application/json"}
        content = request.content
        if content is not None:
            headers["Content-Type"] = "application/json"
        self.statistics.calls += 1
        answer: Answer | None = None
        sent = self.clock.monotonic()
        try:
            answer = yield Send(request, request.endpoint.method, url, headers, content, downloading)
        except HaltedError:
            self.statistics.calls -= 1
            raise
        finally:
            if answer is None:
                self._governor.abandoned(self.clock.monotonic())
        now = self.clock.monotonic()
        self._governor.answered(read_standing(answer.headers), sent, now)
        if answer.status == 429:
            self._governor.refused(answers.retry_after(answer, self.clock.time()) or 1.0, now)
        return answer

    def _pace(self, request: Request, delay: float) -> Generator[Step, Any, None]:
        while delay > 0:
            if delay > MAX_WAIT:
                raise RateLimitedError(
                    f"{request} was not sent: the rate limit of connection {self.settings.conn_id!r} asks "
                    f"for {delay:.0f} s, more than the {MAX_WAIT:.0f} s a task waits by itself.",
                    retry_after=delay,
                )
            yield from self._wait(delay)
            delay = self._governor.claim(self.clock.monotonic())

    def _wait(self, seconds: float) -> Generator[Step, Any, None]:
        before = self.clock.monotonic()
        yield Wait(seconds)
        self.statistics.waited_s += self.clock.monotonic() - before

    def _token(self) -> Generator[Step, Any, Token]:
        while True:
            token, pending, mine = self._tokens.ask(self._key, self.clock.monotonic())
            if token is not None:
                return token
            if mine:
                return (yield from self._fetch_token())
            yield Join(pending)

    def _fetch_token(self) -> Generator[Step, Any, Token]:
        outcome: Token | JourneyError | None = None
        url, headers, content = credentials.token_form(self.settings)
        self.statistics.tokens += 1
        try:
            answer = yield Send("token request (POST /oauth/token)", "POST", url, headers, content)
            outcome = credentials.read_token(answer, self.settings, self.clock.monotonic(), self.clock.time())
            if self._on_secret:
                self._on_secret(outcome.value)
            self._token_failure = _NEVER
            return outcome
        except JourneyError as error:
            # Whatever became of a token request, the operation itself was not carried out.
            error.maybe_processed = False
            outcome = error
            self._token_failure = (self.clock.monotonic(), error)
            raise
        finally:
            self._tokens.settle(self._key, outcome)

    def _count_failure(self, error: JourneyError) -> None:
        self.statistics.errors[str(error.status) if error.status else type(error).__name__] += 1


_SHARED_TOKENS = TokenStore()
_SHARED_GOVERNORS: dict[tuple[object, ...], Governor] = {}


def shared(
    settings: ConnectionSettings,
    *,
    clock: Clock | None = None,
    on_secret: Callable[[str], None] | None = None,
    on_retry: Callable[[JourneyError, int, float], None] | None = None,
) -> Exchange:
    """Return an exchange that shares this process's one token and one governor of the connection."""
    key = (*settings.cache_key, settings.rate_limit_share)
    governor = _SHARED_GOVERNORS.setdefault(key, Governor(settings.rate_limit_share))
    return Exchange(settings, clock or SystemClock(), _SHARED_TOKENS, governor, on_secret, on_retry)
