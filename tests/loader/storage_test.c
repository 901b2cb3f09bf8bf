/* What needs no storage: signatures, checksums, URLs, and listings, whole and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/storage_location.h"

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))

/* ---- signatures ---- */

static void expect_signature(const rn__aws_signing *signing, const char *names, const char *signature)
{
    char *value, expected[1024];
    rn_error err;
    assert_int_equal(rn__aws_sign(signing, &value, &err), RN_STATUS_OK);
    snprintf(expected, sizeof expected, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
             signing->id, signing->time, signing->region, signing->service, names, signature);
    assert_string_equal(value, expected);
    free(value);
}

/* AWS's Signature Version 4 test suite: get-vanilla and its relatives, post-vanilla. */
static void test_signature_suite(void **state)
{
    (void)state;
    const rn__aws_header headers[] = {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}};
    const rn__aws_signing base = {.method = "GET",
                                  .path = "/",
                                  .query = "",
                                  .headers = headers,
                                  .header_count = 2,
                                  .payload_sha256 = EMPTY_SHA256,
                                  .time = "20150830T123600Z",
                                  .region = "us-east-1",
                                  .service = "service",
                                  .id = "AKIDEXAMPLE",
                                  .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
    rn__aws_signing signing = base;
    static const char names[] = "host;x-amz-date";
    expect_signature(&signing, names, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    signing.query = "Param2=value2&Param1=value1";
    expect_signature(&signing, names, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    signing = base;
    signing.method = "POST";
    expect_signature(&signing, names, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

/* The examples of "Authenticating Requests: Using the Authorization Header" in the S3 API reference. */
static void test_signature_s3(void **state)
{
    (void)state;
    const rn__aws_header with_range[] = {{"host", "examplebucket.s3.amazonaws.com"},
                                         {"range", "bytes=0-9"},
                                         {"x-amz-content-sha256", EMPTY_SHA256},
                                         {"x-amz-date", "20130524T000000Z"}};
    const rn__aws_header plain[] = {with_range[0], with_range[2], with_range[3]};
    rn__aws_signing signing = {.method = "GET",
                               .path = "/test.txt",
                               .query = "",
                               .headers = with_range,
                               .header_count = COUNT(with_range),
                               .payload_sha256 = EMPTY_SHA256,
                               .time = "20130524T000000Z",
                               .region = "us-east-1",
                               .service = "s3",
                               .id = "AKIAIOSFODNN7EXAMPLE",
                               .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
    expect_signature(&signing, "host;range;x-amz-content-sha256;x-amz-date",
                     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    signing.path = "/";
    signing.query = "lifecycle";
    signing.headers = plain;
    signing.header_count = COUNT(plain);
    expect_signature(&signing, "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    signing.query = "prefix=J&max-keys=2";
    expect_signature(&signing, "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* ---- texts ---- */

static void test_encoding(void **state)
{
    (void)state;
    rn__buffer text = {0};
    rn__buffer_encode(&text, "a b+c/\xc3\xa9~%", true);
    assert_string_equal(text.at, "a%20b%2Bc/%C3%A9~%25");
    rn__buffer_deinit(&text);
    rn__buffer_base64url(&text, "\xfb\xff\xfe\x01", 4);
    assert_string_equal(text.at, "-__-AQ");
    rn__buffer_deinit(&text);
    char decoded[] = "a%20b+c%2Bd";
    assert_true(rn__url_decode(decoded));
    assert_string_equal(decoded, "a b c+d");
    char bad[][8] = {"%", "%2", "%zz", "a%00b"};
    for (int i = 0; i < COUNT(bad); i++) assert_false(rn__url_decode(bad[i]));
    uint8_t bytes[4];
    assert_true(rn__base64_decode_exactly("AQIDBA==", bytes, 4));
    assert_memory_equal(bytes, "\1\2\3\4", 4);
    static const char *const wrong[] = {"AQIDBA=", "AQIDBAU=", "AQIDBAUG", "AQID", "", "!QIDBA==", "AQIDB==="};
    for (int i = 0; i < COUNT(wrong); i++) assert_false(rn__base64_decode_exactly(wrong[i], bytes, 4));
    char words[16];
    rn__put_words("  two\r\n\twords \x1b[0m and more", words, sizeof words);
    assert_string_equal(words, "two words [0m a");
}

/* The check values of the CRC catalogue, and published digests of "123456789". */
static void test_checks(void **state)
{
    (void)state;
    static const struct {
        rn__check_kind kind;
        const char *hex;
    } cases[] = {{RN__CHECK_CRC32, "cbf43926"},
                 {RN__CHECK_CRC32C, "e3069283"},
                 {RN__CHECK_CRC64, "ae8b14860a799888"},
                 {RN__CHECK_MD5, "25f9e794323b453885f5181f1b624d0b"},
                 {RN__CHECK_SHA256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"}};
    char path[] = "/tmp/rn_storage_check_XXXXXX";
    rn_error err;
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "123456789", 9) == 9);
    close(fd);
    for (int i = 0; i < COUNT(cases); i++) {
        rn__check check = {0};
        rn__check_improve_hex(&check, cases[i].kind, cases[i].hex);
        assert_int_equal(check.kind, cases[i].kind);
        assert_int_equal(rn__check_file(path, &check, "it", &err), RN_STATUS_OK);
        check.digest[0] ^= 1;
        assert_int_equal(rn__check_file(path, &check, "s3://b/it", &err), RN_STATUS_DATA_LOSS);
        assert_non_null(strstr(err.message, "s3://b/it: corrupt: expected "));
        assert_non_null(strstr(err.message, cases[i].hex));
    }
    assert_int_equal(rn__crc64(rn__crc64(0, "1234", 4), "56789", 5), rn__crc64(0, "123456789", 9));
    rn__check check = {0};
    rn__check_improve_base64(&check, RN__CHECK_CRC32C, "4waSgw==");
    rn__check_improve_hex(&check, RN__CHECK_MD5, cases[3].hex); /* no improvement */
    assert_int_equal(check.kind, RN__CHECK_CRC32C);
    unlink(path);
}

/* ---- URLs ---- */

static void expect_location(const char *url, const char *scheme, const char *bucket, const char *key, bool file)
{
    rn__location location;
    char again[2048];
    rn_error err;
    assert_int_equal(rn__location_parse(url, &location, &err), RN_STATUS_OK);
    assert_string_equal(location.kind->scheme, scheme);
    assert_string_equal(location.bucket, bucket);
    assert_string_equal(location.key, key);
    assert_int_equal(location.file, file);
    rn__location_url(&location, NULL, again, sizeof again);
    assert_true(strncmp(url, again, strlen(again)) == 0);
}

static void expect_no_location(const char *url, const char *message)
{
    rn_error err;
    assert_int_equal(rn_storage_check_url(url, &err), RN_STATUS_INVALID_ARGUMENT);
    if (!strstr(err.message, message)) fail_msg("%s: %s", url, err.message);
}

static void test_locations(void **state)
{
    (void)state;
    expect_location("s3://prod-ml-models/image-classifier/v1.3.0/", "s3", "prod-ml-models", "image-classifier/v1.3.0", false);
    expect_location("gs://your-bucket-name/resnet_101", "gs", "your-bucket-name", "resnet_101", false);
    expect_location("s3://bucket", "s3", "bucket", "", false);
    expect_location("s3://bucket/a b/1//", "s3", "bucket", "a b/1", false);
    expect_location("gs://bucket/m/model.safetensors", "gs", "bucket", "m/model.safetensors", true);
    expect_location("https://host:8443/a/b", "https", "https://host:8443", "a/b", false);
    expect_no_location("ftp://host/a", "expected a directory, gs://");
    expect_no_location("hdfs://host/a", "expected a directory, gs://");
    expect_no_location("s3://", "expected s3://bucket/path");
    expect_no_location("s3://a_b!/x", "found the bucket \"a_b!\"");
    expect_no_location("s3://ab/x", "found the bucket \"ab\"");
    expect_no_location("gs://../x", "found the bucket");
    expect_no_location("http:///x", "expected a host");
    expect_no_location("https://host/x?token=abc", "found a query");
    expect_no_location("https://user:hunter2@host/x", "name and password");
    rn_error err;
    char longest[4096];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "s3://bucket/", 12);
    assert_int_equal(rn_storage_check_url(longest, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(rn_storage_check_url("https://user:hunter2@host/x", &err), RN_STATUS_INVALID_ARGUMENT);
    assert_null(strstr(err.message, "hunter2"));
}

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"1/saved_model.pb", "a b/c+d", "...", ".hidden", "a/..b/c"};
    static const char *const bad[] = {"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a/."};
    rn__objects objects = {0};
    rn_error err;
    for (int i = 0; i < COUNT(good); i++) assert_int_equal(rn__objects_add(&objects, good[i], 1, "t", NULL, &err), RN_STATUS_OK);
    assert_int_equal(objects.count, COUNT(good));
    for (int i = 0; i < COUNT(bad); i++) assert_int_equal(rn__objects_add(&objects, bad[i], 1, "t", NULL, &err), RN_STATUS_OK);
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(rn__objects_add(&objects, longest, 1, "t", NULL, &err), RN_STATUS_OK);
    assert_int_equal(objects.count, COUNT(good));
    const uint64_t stamp = rn__objects_stamp(&objects);
    const rn__object first = objects.at[0];
    objects.at[0] = objects.at[1];
    objects.at[1] = first;
    assert_true(rn__objects_stamp(&objects) == stamp);
    objects.at[1].size++;
    assert_true(rn__objects_stamp(&objects) != stamp);
    rn__objects_deinit(&objects);
}

/* ---- listings ---- */

static const char page[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>m/</Prefix>"
    "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b=</NextContinuationToken>"
    "<Contents><Key>m/</Key><Size>0</Size></Contents>"
    "<Contents><Key>m/1/a+b%2Bc</Key><LastModified>2026-01-01T00:00:00.000Z</"
    "LastModified><ETag>&quot;25f9e794323b453885f5181f1b624d0b&quot;</ETag><Size>12</Size>"
    "<Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
    "<Contents><Key>m/1/saved_model.pb</Key><ETag>\"x-2\"</ETag><Size>9223372036854775807</Size></Contents></ListBucketResult>";

static rn_status parse(const char *text, size_t bytes, rn__objects *objects, char **next, rn_error *err)
{
    *objects = (rn__objects){0};
    return rn__s3_parse_page(text, bytes, "m/", objects, next, err);
}

static void test_s3_page(void **state)
{
    (void)state;
    rn__objects objects;
    char *next;
    rn_error err;
    assert_int_equal(parse(page, strlen(page), &objects, &next, &err), RN_STATUS_OK);
    assert_string_equal(next, "a&b=");
    assert_int_equal(objects.count, 2);
    assert_string_equal(objects.at[0].name, "1/a b+c");
    assert_string_equal(objects.at[0].tag, "\"25f9e794323b453885f5181f1b624d0b\"");
    assert_int_equal(objects.at[0].size, 12);
    assert_int_equal(objects.at[0].check.kind, RN__CHECK_NONE);
    assert_string_equal(objects.at[1].name, "1/saved_model.pb");
    assert_true(objects.at[1].size == INT64_MAX);
    free(next);
    rn__objects_deinit(&objects);
}

/* Cut anywhere, it is refused; with any byte changed, nothing bad happens. In memory of the exact size, for sanitizers. */
static void test_damaged_s3_page(void **state)
{
    (void)state;
    const size_t bytes = strlen(page);
    for (size_t cut = 0; cut < bytes; cut++) {
        rn__objects objects;
        char *next, *copy = malloc(cut + 1);
        rn_error err = {0};
        memcpy(copy, page, cut);
        assert_int_equal(parse(copy, cut, &objects, &next, &err), RN_STATUS_UNAVAILABLE);
        assert_null(next);
        assert_true(err.message[0]);
        rn__objects_deinit(&objects);
        free(copy);
    }
    for (size_t at = 0; at < bytes; at++) {
        rn__objects objects;
        char *next, *copy = malloc(bytes);
        rn_error err = {0};
        memcpy(copy, page, bytes);
        copy[at] = (char)(copy[at] ^ (1 << at % 7));
        const rn_status status = parse(copy, bytes, &objects, &next, &err);
        assert_true(status == RN_STATUS_OK || status == RN_STATUS_UNAVAILABLE);
        free(next);
        rn__objects_deinit(&objects);
        free(copy);
    }
}

static void expect_refused(const char *text, const char *message)
{
    rn__objects objects;
    char *next;
    rn_error err = {0};
    assert_int_equal(parse(text, strlen(text), &objects, &next, &err), RN_STATUS_UNAVAILABLE);
    if (!strstr(err.message, message)) fail_msg("%s: %s", text, err.message);
    rn__objects_deinit(&objects);
}

static void test_refused_s3_pages(void **state)
{
    (void)state;
    expect_refused("<html><body>proxy says no</body></html>", "no listing");
    expect_refused("<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><ListBucketResult>&b;</ListBucketResult>", "a document type");
    expect_refused("<ListBucketResult><Contents><Key>m/a</Key></Contents></ListBucketResult>", "without name or size");
    expect_refused("<ListBucketResult><Contents><Key>m/a</Key><Size>-1</Size></Contents></ListBucketResult>", "size that is no number");
    expect_refused("<ListBucketResult><Contents><Key>m/a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
                   "size that is no number");
    expect_refused("<ListBucketResult><Contents><Key>m/%zz</Key><Size>1</Size></Contents></ListBucketResult>", "not well encoded");
    expect_refused("<ListBucketResult><Contents><Key>other</Key><Size>1</Size></Contents></ListBucketResult>", "not asked for");
    expect_refused("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "no token");
    expect_refused("<ListBucketResult><a><b><c><d><e><f><g><h/></g></f></e></d></c></b></a></ListBucketResult>", "more levels");
    char *text = malloc(20000);
    memset(text, 'x', 20000);
    memcpy(text, "<ListBucketResult>", 18);
    strcpy(text + 19000, "</ListBucketResult>");
    expect_refused(text, "longer text");
    free(text);
}

/* Nothing but code and message, whatever else S3 repeats. */
static void test_s3_error(void **state)
{
    (void)state;
    static const char text[] =
        "<Error><Code>ExpiredToken</Code><Message>The provided token\nhas expired.</Message><Token-0>SECRET</Token-0></Error>";
    static const char sts[] =
        "<ErrorResponse "
        "xmlns=\"x\"><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>m</Message></Error></ErrorResponse>";
    char code[32], message[64];
    rn__s3_parse_error(text, strlen(text), code, sizeof code, message, sizeof message);
    assert_string_equal(code, "ExpiredToken");
    assert_string_equal(message, "The provided token has expired.");
    rn__s3_parse_error(sts, strlen(sts), code, sizeof code, message, sizeof message);
    assert_string_equal(code, "InvalidIdentityToken");
    rn__s3_parse_error("nonsense", 8, code, sizeof code, message, sizeof message);
    assert_string_equal(code, "");
    rn__s3_parse_error(NULL, 0, code, sizeof code, message, sizeof message);
    assert_string_equal(code, "");
}

static void test_sts(void **state)
{
    (void)state;
    static const char text[] = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>A</"
                               "AccessKeyId><SecretAccessKey>B</SecretAccessKey>"
                               "<SessionToken>C</SessionToken><Expiration>2030-01-01T00:00:00.5Z</Expiration></Credentials></"
                               "AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    rn__aws_keys keys;
    rn_error err;
    assert_int_equal(rn__aws_parse_sts(text, strlen(text), &keys, &err), RN_STATUS_OK);
    assert_string_equal(keys.secret, "B");
    assert_string_equal(keys.token, "C");
    assert_int_equal(keys.expires, 1893456000);
    rn__aws_keys_deinit(&keys);
    for (size_t cut = 0; cut < strlen(text); cut++) {
        char *copy = malloc(cut + 1);
        memcpy(copy, text, cut);
        assert_int_equal(rn__aws_parse_sts(copy, cut, &keys, &err), RN_STATUS_UNAVAILABLE);
        free(copy);
    }
}

static const char json[] = "{\"kind\": \"storage#objects\", \"nextPageToken\": \"T\", \"items\": [{\"name\": \"m/1/saved_model.pb\", "
                           "\"size\": \"9\", \"generation\": \"17\","
                           "\"md5Hash\": \"JfnnlDI7RTiF9RgfG2JNCw==\", \"crc32c\": \"4waSgw==\"}, {\"name\": \"m/\", \"size\": \"0\"}, "
                           "{\"name\": \"m/1/b\", \"size\": 3}]}";

static void test_gs_page(void **state)
{
    (void)state;
    rn__objects objects = {0};
    char *next;
    rn_error err;
    assert_int_equal(rn__gs_parse_page(json, strlen(json), "m/", &objects, &next, &err), RN_STATUS_OK);
    assert_string_equal(next, "T");
    assert_int_equal(objects.count, 2);
    assert_string_equal(objects.at[0].tag, "17");
    assert_int_equal(objects.at[0].check.kind, RN__CHECK_CRC32C);
    assert_memory_equal(objects.at[0].check.digest, "\xe3\x06\x92\x83", 4);
    assert_int_equal(objects.at[1].size, 3);
    free(next);
    rn__objects_deinit(&objects);
    assert_int_equal(rn__gs_parse_page("{}", 2, "m/", &objects, &next, &err), RN_STATUS_OK); /* an empty listing */
    assert_int_equal(objects.count, 0);
}

static void test_damaged_gs_pages(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "null",
                                      "{\"items\": 1}",
                                      "{\"items\": [1]}",
                                      "{\"items\": [{\"name\": \"m/a\"}]}",
                                      "{\"items\": [{\"size\": \"1\"}]}",
                                      "{\"items\": [{\"name\": \"m/a\", \"size\": \"-1\"}]}",
                                      "{\"items\": [{\"name\": \"m/a\", \"size\": -1}]}",
                                      "{\"items\": [{\"name\": \"m/a\", \"size\": \"1x\"}]}",
                                      "{\"items\": [{\"name\": \"x\", \"size\": \"1\"}]}",
                                      "{\"items\": [{\"name\": \"m/a\", \"size\": \"99999999999999999999\"}]}",
                                      "<html/>"};
    for (int i = 0; i < COUNT(bad); i++) {
        rn__objects objects = {0};
        char *next;
        rn_error err = {0};
        assert_int_equal(rn__gs_parse_page(bad[i], strlen(bad[i]), "m/", &objects, &next, &err), RN_STATUS_UNAVAILABLE);
        assert_null(next);
        assert_true(err.message[0]);
        rn__objects_deinit(&objects);
    }
    for (size_t cut = 0; cut < strlen(json); cut++) {
        rn__objects objects = {0};
        char *next, *copy = malloc(cut + 1);
        rn_error err;
        memcpy(copy, json, cut);
        assert_int_equal(rn__gs_parse_page(copy, cut, "m/", &objects, &next, &err), RN_STATUS_UNAVAILABLE);
        rn__objects_deinit(&objects);
        free(copy);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    static const char google[] = "{\"access_token\": \"T0KEN\", \"expires_in\": 3599}",
                      injected[] = "{\"access_token\": \"a\\r\\nX: y\", \"expires_in\": 1}";
    static const char keys_text[] = "{\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"B\", \"Token\": \"C\", \"Expiration\": "
                                    "\"2030-01-01T00:00:00Z\", \"RoleArn\": \"arn:x\"}";
    char *token;
    int64_t lifetime_s;
    rn__aws_keys keys;
    rn_error err;
    assert_int_equal(rn__google_parse_token(google, strlen(google), &token, &lifetime_s, &err), RN_STATUS_OK);
    assert_string_equal(token, "T0KEN");
    assert_int_equal(lifetime_s, 3599);
    free(token);
    assert_int_equal(rn__google_parse_token(injected, strlen(injected), &token, &lifetime_s, &err), RN_STATUS_UNAVAILABLE);
    assert_int_equal(rn__google_parse_token(google, strlen(google) - 1, &token, &lifetime_s, &err), RN_STATUS_UNAVAILABLE);
    assert_null(strstr(err.message, "T0KEN"));
    assert_int_equal(rn__aws_parse_keys_json(keys_text, strlen(keys_text), &keys, &err), RN_STATUS_OK);
    assert_string_equal(keys.identity, "arn:x");
    assert_int_equal(keys.expires, 1893456000);
    rn__aws_keys_deinit(&keys);
    assert_int_equal(rn__aws_parse_keys_json(google, strlen(google), &keys, &err), RN_STATUS_UNAVAILABLE);
    assert_string_equal(err.message, "the answer has no usable AccessKeyId");
}

static void test_sums(void **state)
{
    (void)state;
    static const char text[] =
        EMPTY_SHA256 "  1/saved_model.pb\r\n\n" EMPTY_SHA256 " *./1/a b\n" EMPTY_SHA256 "  ../../etc/passwd\n" EMPTY_SHA256 "  last";
    static const char *const bad[] = {"no hash  name\n",      EMPTY_SHA256 "\n",         EMPTY_SHA256 "  \n",
                                      EMPTY_SHA256 " name\n", "zz" EMPTY_SHA256 "  x\n", "<html>\n"};
    rn__objects objects = {0};
    rn_error err;
    assert_int_equal(rn__http_parse_sums(text, strlen(text), &objects, &err), RN_STATUS_OK);
    assert_int_equal(objects.count, 3);
    assert_string_equal(objects.at[0].name, "1/saved_model.pb");
    assert_string_equal(objects.at[1].name, "1/a b");
    assert_string_equal(objects.at[2].name, "last");
    assert_int_equal(objects.at[2].check.kind, RN__CHECK_SHA256);
    rn__objects_deinit(&objects);
    for (int i = 0; i < COUNT(bad); i++) {
        assert_int_equal(rn__http_parse_sums(bad[i], strlen(bad[i]), &objects, &err), RN_STATUS_DATA_LOSS);
        assert_non_null(strstr(err.message, "SHA256SUMS: line 1: expected 64 hexadecimal digits"));
        rn__objects_deinit(&objects);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature_suite),
        cmocka_unit_test(test_signature_s3),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_locations),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_s3_page),
        cmocka_unit_test(test_damaged_s3_page),
        cmocka_unit_test(test_refused_s3_pages),
        cmocka_unit_test(test_s3_error),
        cmocka_unit_test(test_sts),
        cmocka_unit_test(test_gs_page),
        cmocka_unit_test(test_damaged_gs_pages),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_sums),
    };
    return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
