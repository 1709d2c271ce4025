"""Contributions of any length, part by part."""

from collections.abc import AsyncIterator, Iterable, Iterator

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import uploads
from concordat.requests import Row
from concordat.results import RefusedRow, UploadedPart, UploadStatus


class UploadMethods(BlockingMethods):
    """Methods of `Client`."""

    def contribute_stream(
        self,
        rows: Iterable[Row],
        *,
        upload_id: bytes | None = None,
        adverse_notice_sha256: bytes | None = None,
        timeout: float | None = None,
    ) -> Iterator[UploadedPart]:
        """Contribute any number of rows, part by part; gives each part once it is in the pool.

        Consume the iterator: rows are read and sent as it advances, 4,000 a part and four parts
        ahead, and no more are kept in memory. A broken connection, or a gateway that restarts, is
        gone on with until `timeout` has passed without an acknowledgement. After a failure, or in
        another process, call again with all rows and the same `upload_id` (16 bytes): rows that
        were taken are passed over, but for their last part, by which the gateway knows that these
        are the same rows; if they are not, Conflict (SEQUENCE_REUSED) is raised. When the rows end
        and all parts are in the pool the upload is ended, and takes no further rows
        (FailedPrecondition, UPLOAD_ENDED); one that was not read to its end stays open.

        Bad rows are refused one by one, by number. All tokens must be of one epoch, which
        is fixed with the upload's first part, as is `adverse_notice_sha256` (see `contribute`).
        """
        return self._runner.items(
            "contribute_stream",
            uploads.Upload(self._context, rows, upload_id, adverse_notice_sha256, timeout),
        )

    def get_upload(self, upload_id: bytes, *, timeout: float | None = None) -> UploadStatus:
        """How far an upload has come. Raises NotFound."""
        return self._runner.run("get_upload", uploads.get_upload(self._context, upload_id, timeout))

    def list_refused_rows(
        self,
        upload_id: bytes,
        *,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> Iterator[RefusedRow]:
        """The refused rows of an upload, in their order.

        Pages of `page_size` (1 to 10,000) are read as the iterator advances; `timeout` is a
        page's. Raises NotFound.
        """
        return self._runner.pages(
            "list_refused_rows",
            uploads.list_refused_rows(self._context, upload_id, page_size, timeout),
        )


class AwaitingUploadMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    def contribute_stream(
        self,
        rows: Iterable[Row],
        *,
        upload_id: bytes | None = None,
        adverse_notice_sha256: bytes | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[UploadedPart]:
        """See `Client.contribute_stream`."""
        return self._runner.items(
            "contribute_stream",
            uploads.Upload(self._context, rows, upload_id, adverse_notice_sha256, timeout),
        )

    async def get_upload(self, upload_id: bytes, *, timeout: float | None = None) -> UploadStatus:
        """See `Client.get_upload`."""
        return await self._runner.run(
            "get_upload", uploads.get_upload(self._context, upload_id, timeout)
        )

    def list_refused_rows(
        self,
        upload_id: bytes,
        *,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[RefusedRow]:
        """See `Client.list_refused_rows`."""
        return self._runner.pages(
            "list_refused_rows",
            uploads.list_refused_rows(self._context, upload_id, page_size, timeout),
        )
