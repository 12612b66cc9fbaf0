"""The synchronous client: carries a conversation's bytes with requests, and waits by blocking."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from airflow_provider_journey.api import failures
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.api.exchange import Exchange, Join, Send, Statistics, Step, Wait, shared
from airflow_provider_journey.api.messages import Answer, Request
from airflow_provider_journey.api.operations import Call, Entity, Page
from airflow_provider_journey.api.settings import ConnectionSettings

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
CHUNK = 1 << 18


class JourneyClient:
    """Runs operations over one connection, one at a time per thread; safe to share between threads.

    :param exchange: the connection's settings, clock, tokens and governor.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._session: requests.Session | None = None
        self._transport: dict[str, Any] = {}

    @property
    def settings(self) -> ConnectionSettings:
        """What the connection says."""
        return self._exchange.settings

    @property
    def segments_api(self) -> str:
        """The segment surface that the connection names, for callers that build operations."""
        return self._exchange.settings.segments_api

    @property
    def statistics(self) -> Statistics:
        """What this client has done so far."""
        return self._exchange.statistics

    def run(self, call: Call[T]) -> T:
        """Send one request and return what its answer means.

        :raises JourneyError: whatever the last try came to.
        """
        return call.read(self._drive(call.request))

    def iterate(self, call: Call[Page]) -> Iterator[Entity]:
        """Yield the entities of all pages, asking for a page when the one before it has been consumed."""
        following: Call[Page] | None = call
        while following is not None:
            page = self.run(following)
            yield from page.entities
            following = page.following

    def download(self, call: Call[Any], file: BinaryIO) -> Answer:
        """Write the body of a 200 to ``file``, piece by piece; each try begins at the file's beginning.

        The body is not looked at: that it means anything is for its reader to check.

        :return: the answer without its body.
        :raises JourneyError: whatever the last try came to; the file's content is then worth nothing.
        """
        return self._drive(call.request, file)

    def close(self) -> None:
        """Close the connections to the service."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _drive(self, request: Request, file: BinaryIO | None = None) -> Answer:
        conversation = self._exchange.conversation(request, downloading=file is not None)
        try:
            step: Step = next(conversation)
            while True:
                try:
                    outcome = self._perform(step, file)
                except JourneyError as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(outcome)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        finally:
            conversation.close()

    def _perform(self, step: Step, file: BinaryIO | None) -> Answer | None:
        if isinstance(step, Send):
            return self._carry(step, file)
        if isinstance(step, Wait):
            self._exchange.clock.sleep(step.seconds)
        elif isinstance(step, Join):
            step.future.result()
        return None

    def _carry(self, step: Send, file: BinaryIO | None) -> Answer:
        import requests

        session = self._session or self._open()
        # Prepared apart from the session: it would let a .netrc replace our Authorization header.
        prepared = requests.PreparedRequest()
        heard: Answer | None = None
        try:
            prepared.prepare(method=step.method, url=step.url, headers=step.headers, data=step.content)
            with session.send(prepared, allow_redirects=False, **self._transport) as response:
                heard = Answer(response.status_code, response.headers)
                if not step.downloading or response.status_code != 200 or file is None:
                    return heard._replace(body=response.content)
                file.seek(0)
                file.truncate()
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                return heard
        except requests.RequestException as error:
            raise failures.of_requests(error, step, self._exchange.settings, heard) from error

    def _open(self) -> requests.Session:
        import requests

        settings = self._exchange.settings
        session = requests.Session()
        # Threads that share a client each keep a connection.
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=64)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else {}
        # Proxies and CA bundles of the environment are looked up once, not per request; bodies are streamed.
        self._transport = dict(
            session.merge_environment_settings(settings.site.api_url, proxies, True, settings.verify, None)
        )
        self._transport["timeout"] = settings.timeout
        self._session = session
        return session


def connect(settings: ConnectionSettings, **options: Any) -> JourneyClient:
    """Return a client that shares token and governor with this process's others of the same connection."""
    return JourneyClient(shared(settings, **options))
