import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Calls with Java's HttpClient as it is by default: it asks for HTTP/2 with an Upgrade field.
 *
 * <p>Arguments: base URL, key, body of a call, body of a streamed call. Output: a line per call, with its name, status
 * and body in Base64.
 */
public final class HttpClientCalls {
  private static String base;
  private static String key;

  private static HttpRequest.Builder to(String path) {
    return HttpRequest.newBuilder(URI.create(base + path))
        .header("x-api-key", key)
        .header("anthropic-version", "2026-10-21");
  }

  private static HttpRequest post(String path, String type, BodyPublisher body) {
    return to(path).header("content-type", type).POST(body).build();
  }

  private static void tell(HttpClient client, String name, HttpRequest request) throws Exception {
    HttpResponse<byte[]> answer = client.send(request, BodyHandlers.ofByteArray());
    String body = Base64.getEncoder().encodeToString(answer.body());
    System.out.println(name + "\t" + answer.statusCode() + "\t" + body);
  }

  public static void main(String[] arguments) throws Exception {
    base = arguments[0];
    key = arguments[1];
    String json = "application/json";
    String form = "multipart/form-data; boundary=x";
    byte[] upload =
        ("--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" + "y".repeat(300_000) + "\r\n--x--\r\n")
            .getBytes();
    BodyPublisher unknownLength =
        BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(arguments[2].getBytes()));

    HttpClient client = HttpClient.newHttpClient();
    tell(client, "message", post("/v1/messages", json, BodyPublishers.ofString(arguments[2])));
    tell(client, "models", to("/v1/models").build());
    tell(client, "stream", post("/v1/messages", json, BodyPublishers.ofString(arguments[3])));
    tell(client, "chunked", post("/v1/messages", json, unknownLength));
    tell(client, "missing", to("/v1/models/none").build());
    tell(client, "upload", post("/v1/files", form, BodyPublishers.ofByteArray(upload)));
    HttpRequest.Builder expecting = to("/v1/messages").header("content-type", json).expectContinue(true);
    tell(client, "expect", expecting.POST(BodyPublishers.ofString(arguments[2])).build());

    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    for (int number = 0; number < 8; number++) {
      answers.add(client.sendAsync(to("/v1/models").build(), BodyHandlers.ofString()));
    }
    for (CompletableFuture<HttpResponse<String>> answer : answers) {
      System.out.println("parallel\t" + answer.get().statusCode() + "\t");
    }
  }
}
